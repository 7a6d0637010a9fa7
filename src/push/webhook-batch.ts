// Several messages in one request: the JSON that goes out, and what the endpoint may answer about each.
//
// A 2xx acknowledges them all. An endpoint that could not process some names them in a JSON answer,
// {"failed":[{"id":"…","reason":"…"}]}: those are tried again, the rest are done. An answer that says it is JSON
// and cannot be understood acknowledges nothing: to deliver again is safe, to lose is not.

import { limits } from "../limits";
import { messageJson } from "../message-json";
import type { Failures, Item } from "./dispatch-plan";
import type { Claims } from "./hand-over";

export const BATCH_CONTENT_TYPE = "application/vnd.pennypost.batch+json";

/** The body of a batch request. Under effectively-once each message has its claim, and the fence of it. */
export function batchBody(partition: number, items: readonly Item[], claims?: Claims): string {
  const messages = items.map(({ offset, attempt, message }) => {
    const held = claims?.get(offset);
    return {
      ...messageJson(message),
      ...{ partition, offset, attempt },
      ...(held && { claim: held.claim, claimFence: held.fence }),
      ...(message.replyTo !== undefined && { replyTo: message.replyTo }),
    };
  });
  return JSON.stringify({ messages });
}

/** What a batch's `webhook-id` is made from: the same messages, in the same order, have the same id. */
export function batchComposition(partition: number, items: readonly Item[]): string {
  return items.map(({ offset, message }) => `${partition}:${offset}:${message.id}`).join("\n");
}

/**
 * The messages that a 2xx answer names as failed; undefined when it cannot be understood. `nameOf` says by which id the
 * request named each.
 */
export function batchFailures(
  answer: Readonly<{ contentType: string | null; text: string; whole: boolean }>,
  items: readonly Item[],
  nameOf: (item: Item) => string = ({ message }) => message.id,
): Failures | undefined {
  if (!isJson(answer.contentType) || (answer.whole && answer.text.trim() === "")) return new Map();
  if (!answer.whole) return undefined;
  const named = namedFailures(parse(answer.text));
  const known = Map.groupBy(items, nameOf);
  if (!named?.every(([name]) => known.has(name))) return undefined;
  return new Map(
    named.flatMap(([name, reason]) =>
      (known.get(name) ?? []).map(({ message }) => [message.id, reason] as const),
    ),
  );
}

/** Any JSON is a fine answer, unless it has a `failed` that is not a list of ids. */
function namedFailures(json: unknown): readonly (readonly [string, string])[] | undefined {
  if (json === undefined) return undefined;
  if (!isRecord(json) || json.failed === undefined) return [];
  if (!Array.isArray(json.failed)) return undefined;
  const named: [string, string][] = [];
  for (const entry of json.failed as unknown[]) {
    if (!isRecord(entry) || typeof entry.id !== "string") return undefined;
    const reason = typeof entry.reason === "string" ? entry.reason : "named as failed by the endpoint";
    named.push([entry.id, reason.slice(0, limits.responseKeptLength).toWellFormed()]);
  }
  return named;
}

function isJson(contentType: string | null): boolean {
  return /^[^;]*[/+]json\s*(;|$)/i.test(contentType ?? "");
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
