// One webhook request: made from a parcel of messages, sent, and its answer judged. An endpoint's fault is an
// answer here, never a throw: a refused connection, a timeout and a 500 all end one attempt.

import { limits } from "../limits";
import { joinBytes } from "../record-batch";
import type { Runtime } from "../runtime";
import type { PushSettings } from "../settings";
import { childTraceparent } from "../trace-context";
import type { Failures, Item, WebhookAnswer } from "./dispatch-plan";
import { CLAIM_LEASE_MS, type Claims, handOverMs } from "./hand-over";
import { hostOf, REQUEST_ORIGIN } from "./handshake";
import { type Bytes, mayReply, replyOf } from "./pushed-reply";
import { retryAfterMs } from "./retry-after";
import { batchId, sign } from "./signature";
import { BATCH_CONTENT_TYPE, batchBody, batchComposition, batchFailures } from "./webhook-batch";
import { eventBatchContent, eventContent, nameInBatch } from "./webhook-event";
import {
  batchHeaders,
  claimHeaders,
  type HeaderList,
  messageHeaders,
  type Origin,
  withEndpointHeaders,
} from "./webhook-headers";

/** What a request needs of the platform. */
export type Wire = Readonly<{
  runtime: Runtime;
  fetch(url: string, init: RequestInit): Promise<Response>;
  /** A signal that aborts after so long. */
  timeout(ms: number): AbortSignal;
}>;

/** Where requests go, signed with what. */
export type Endpoint = Readonly<{
  origin: Origin;
  push: PushSettings;
  keys: readonly CryptoKey[];
  /** `Retry-After` cannot ask for less than the subscription's own least delay. */
  minRetryMs: number;
}>;

/** `fixed` are headers that an endpoint's own cannot replace. */
type Content = Readonly<{ id: string; headers: HeaderList; fixed?: HeaderList; body: Uint8Array }>;
export type Body = Readonly<{ text: string; whole: boolean }>;

const NO_FAILURES: Failures = new Map();
const utf8 = new TextEncoder();

/** Sends one parcel, and says how it fared. With `claims` a 202 hands it over. */
export async function sendWebhook(
  wire: Wire,
  endpoint: Endpoint,
  parcel: readonly Item[],
  claims?: Claims,
): Promise<WebhookAnswer> {
  const at = wire.runtime.now();
  try {
    const attempt = inNewSpans(parcel, wire);
    const request = await webhookRequest(endpoint, attempt, Math.floor(at / 1000), claims);
    const response = await wire.fetch(endpoint.push.url, {
      ...request,
      // A redirect could lead anywhere, also where checkEndpointUrl would not: it is an answer, and a failure.
      redirect: "manual",
      // Covers the headers and the body: reading is aborted too.
      signal: wire.timeout(endpoint.push.timeoutMs),
    });
    const answer = await judge(wire, endpoint, parcel, response, at);
    if (claims === undefined || response.status !== 202 || !answer.delivered) return answer;
    return { ...answer, handOver: { leaseMs: handOverMs(response.headers.get(CLAIM_LEASE_MS)), claims } };
  } catch (error) {
    const latencyMs = wire.runtime.now() - at;
    const note = { at, error: describeFault(error, endpoint.push), latencyMs };
    return { delivered: false, note, gone: false };
  }
}

/** The method, headers and body of the request, signed as of `timestamp` (in seconds). */
export async function webhookRequest(
  { origin, push, keys }: Endpoint,
  parcel: readonly Item[],
  timestamp: number,
  claims?: Claims,
): Promise<Readonly<{ method: "POST"; headers: HeaderList; body: Uint8Array }>> {
  const { id, headers, fixed, body } = await contentOf(origin, push, parcel, claims);
  const signature = await sign(keys, { id, timestamp, body });
  const signed = {
    ...withEndpointHeaders(headers, push.headers),
    ...fixed,
    ...claimHeaders(claims, push.batchMaxMessages > 1),
    // Who was granted a handshake names itself in every request (CloudEvents' HTTP webhooks, 2.1).
    ...(push.verification?.by === "handshake" && { [REQUEST_ORIGIN]: hostOf(push.verification.base) }),
    "webhook-id": id,
    "webhook-timestamp": String(timestamp),
    ...(signature !== "" && { "webhook-signature": signature }),
  };
  return { method: "POST", headers: signed, body };
}

/** Each attempt is a span of its own in the trace of its message. */
function inNewSpans(parcel: readonly Item[], { runtime }: Wire): readonly Item[] {
  return parcel.map((item) => {
    const { traceparent } = item.message;
    const child = traceparent && childTraceparent(traceparent, () => runtime.random());
    return child ? { ...item, message: { ...item.message, traceparent: child } } : item;
  });
}

/** One message goes as its own bytes; an endpoint that takes batches always gets the JSON of a batch. */
async function contentOf(
  origin: Origin,
  push: PushSettings,
  parcel: readonly Item[],
  claims: Claims | undefined,
): Promise<Content> {
  const [only] = parcel;
  const { format = "raw" } = push;
  if (push.batchMaxMessages <= 1 && only !== undefined) {
    const { id, body } = only.message;
    if (format !== "raw") return { id, ...eventContent(origin, only, format) };
    return { id, headers: messageHeaders(origin, only), body };
  }
  const id = await batchId(batchComposition(origin.partition, parcel));
  if (format !== "raw") return { id, ...eventBatchContent(origin, parcel) };
  return {
    id,
    headers: batchHeaders(origin, BATCH_CONTENT_TYPE),
    body: utf8.encode(batchBody(origin.partition, parcel, claims)),
  };
}

async function judge(
  wire: Wire,
  endpoint: Endpoint,
  parcel: readonly Item[],
  response: Response,
  at: number,
): Promise<WebhookAnswer> {
  const { status } = response;
  const isBatch = endpoint.push.batchMaxMessages > 1;
  const isReply = !isBatch && mayReply(parcel, response);
  const bytes = await readBytes(response, answerBytes(response, { isBatch, isReply }));
  const body = textOf(bytes);
  const now = wire.runtime.now();
  const latencyMs = now - at;
  if (!response.ok) {
    const bounds = { now, minMs: endpoint.minRetryMs, maxMs: limits.maxRetryAfterMs };
    const wait = retryAfterMs(response.headers.get("retry-after"), bounds);
    const note = { at, status, error: describeAnswer(response, body), latencyMs };
    return {
      delivered: false,
      note,
      gone: status === 410,
      ...(wait !== undefined && { retryAfterMs: wait }),
    };
  }
  const contentType = response.headers.get("content-type");
  const nameOf = nameInBatch(endpoint.origin, endpoint.push.format);
  const failures = isBatch ? batchFailures({ contentType, ...body }, parcel, nameOf) : NO_FAILURES;
  if (isReply && bytes.end === "broken") {
    // Its asker waits for it, and half of it is none: the attempt has failed.
    return { delivered: false, note: { at, status, error: "its reply broke off", latencyMs }, gone: false };
  }
  const reply = isReply ? replyOf(contentType, bytes) : undefined;
  if (failures) return { delivered: true, status, at, latencyMs, failures, ...(reply && { reply }) };
  const note = { at, status, error: "its answer about the batch cannot be understood", latencyMs };
  return { delivered: false, note, gone: false };
}

function answerBytes(
  { ok }: Response,
  { isBatch, isReply }: Readonly<{ isBatch: boolean; isReply: boolean }>,
): number {
  if (isReply) return limits.replyBytes;
  return isBatch && ok ? limits.batchAnswerBytes : limits.responseBytes;
}

/** Reads at most `maxBytes` of a body as text, and cancels the rest. */
export async function readText(response: Response, maxBytes: number): Promise<Body> {
  return textOf(await readBytes(response, maxBytes));
}

/**
 * Reads at most `maxBytes` of a body and cancels the rest. A body that breaks off is read as far as it came: by
 * its status the endpoint has answered.
 */
async function readBytes(response: Response, maxBytes: number): Promise<Bytes> {
  const reader = response.body?.getReader();
  if (reader === undefined) return { bytes: new Uint8Array(), end: "whole" };
  const chunks: Uint8Array[] = [];
  let left = maxBytes;
  try {
    while (left >= 0) {
      const { done, value } = await reader.read();
      if (done) return { bytes: joinBytes(chunks), end: "whole" };
      chunks.push(value.subarray(0, left));
      left -= value.byteLength;
    }
  } catch {
    return { bytes: joinBytes(chunks), end: "broken" };
  }
  await reader.cancel().catch(() => undefined);
  return { bytes: joinBytes(chunks), end: "cut" };
}

/** A character that was cut through is left out. */
function textOf({ bytes, end }: Bytes): Body {
  const whole = end === "whole";
  return { text: new TextDecoder().decode(bytes, { stream: !whole }), whole };
}

function describeAnswer(response: Response, { text }: Body): string {
  if (response.status >= 300 && response.status < 400) return "redirects are not followed";
  if (text.trim() === "") return `the endpoint answered ${response.status}`;
  return text.slice(0, limits.responseKeptLength).toWellFormed();
}

/** A fault in a person's words. The platform's own may quote the URL, and with it a secret in its query. */
export function describeFault(error: unknown, { timeoutMs }: Pick<PushSettings, "timeoutMs">): string {
  const { name, message } = error instanceof Error ? error : new Error(String(error));
  if (name === "TimeoutError" || name === "AbortError") return `no answer within ${timeoutMs} ms`;
  if (message === "" || message.includes("://")) return "the request could not be made";
  return `no answer: ${message}`.slice(0, limits.responseKeptLength).toWellFormed();
}
