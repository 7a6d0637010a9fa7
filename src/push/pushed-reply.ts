// When an endpoint's answer to a request is its reply, and what of it is kept.

import { limits } from "../limits";
import type { Item, PushedReply } from "./dispatch-plan";

/** What was read of a body, and how that ended. */
export type Bytes = Readonly<{ bytes: Uint8Array; end: "whole" | "cut" | "broken" }>;

/** In an answer: `none` says that this subscriber has nothing to reply. */
const REPLY = "pennypost-reply";
/** These say that the reply comes later, over HTTP, or not at all. */
const WITHOUT_REPLY: readonly number[] = [202, 204, 205];
const OCTETS = "application/octet-stream";
const SENDABLE = /^[\x20-\x7e]+$/;

/** Whether what the endpoint answers to this one message may be a reply. */
export function mayReply([only]: readonly Item[], response: Response): boolean {
  if (only?.message.replyTo === undefined || !response.ok) return false;
  return !WITHOUT_REPLY.includes(response.status) && response.headers.get(REPLY)?.trim() !== "none";
}

/** The reply; undefined when nothing was said. What is too large is none that could be handed on, and says so. */
export function replyOf(contentType: string | null, { bytes, end }: Bytes): PushedReply | undefined {
  if (bytes.byteLength === 0) return undefined;
  const isSendable =
    contentType !== null && contentType.length <= limits.contentTypeBytes && SENDABLE.test(contentType);
  const type = isSendable ? contentType : OCTETS;
  if (end === "cut") return { contentType: type, body: new Uint8Array(), tooLarge: true };
  return { contentType: type, body: bytes };
}
