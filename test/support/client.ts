// A client of the broker as anybody would write one: HTTP, a bearer token, a timeout on every request.

import type { Address } from "./broker.ts";

export type Published = Readonly<{
  id: string;
  partition?: number;
  offset?: number;
  duplicate?: boolean;
  error?: { title: string; detail: string };
}>;

export type Pulled = Readonly<{
  id: string;
  partition: number;
  offset: number;
  orderingKey?: string;
  data: string;
  attempt: number;
  ackId: string;
}>;

export type Settled = Readonly<{ ackId: string; status: string }>;

export type NewMessage = Readonly<{
  id?: string;
  orderingKey?: string;
  subject?: string;
  data: unknown;
  attributes?: Readonly<Record<string, string>>;
}>;

export type PullOptions = Readonly<{ max?: number; waitMs?: number; ackDeadlineMs?: number }>;

export type RequestOptions = Readonly<{
  /** Sent as JSON. */
  json?: unknown;
  /** Sent as it is. */
  body?: string | Uint8Array;
  headers?: Readonly<Record<string, string>>;
  timeoutMs?: number;
}>;

export type Answer<T> = Readonly<{ status: number; headers: Headers; body: T }>;

const TIMEOUT_MS = 30_000;

/** Sends one request and returns whatever it was answered; the body is parsed when it is JSON. */
export async function send<T>(
  at: Address,
  method: string,
  path: string,
  { json, body, headers, timeoutMs = TIMEOUT_MS }: RequestOptions = {},
): Promise<Answer<T>> {
  const answer = await fetch(`${at.url}${path}`, {
    method,
    headers: {
      ...(at.token !== "" && { authorization: `Bearer ${at.token}` }),
      ...(json !== undefined && { "content-type": "application/json" }),
      ...headers,
    },
    ...((json !== undefined || body !== undefined) && { body: body ?? JSON.stringify(json) }),
    signal: AbortSignal.timeout(timeoutMs),
  });
  const text = await answer.text();
  const isJson = /\bjson\b/.test(answer.headers.get("content-type") ?? "");
  return { status: answer.status, headers: answer.headers, body: (isJson ? JSON.parse(text) : text) as T };
}

/** Sends one request and returns the body of its 2xx answer; throws with the problem otherwise. */
export async function call<T>(
  at: Address,
  method: string,
  path: string,
  options: RequestOptions = {},
): Promise<T> {
  const { status, body } = await send<T>(at, method, path, options);
  if (status >= 200 && status < 300) return body;
  throw new Error(`${method} ${path} answered ${status}: ${JSON.stringify(body)}`);
}

/** Publishes messages to `path` (`/v1/topics/…` or `/v1/queues/…`) and waits until they are stored. */
export async function publishStored(
  at: Address,
  path: string,
  messages: readonly NewMessage[],
): Promise<readonly Published[]> {
  const answer = await call<{ messages: Published[] }>(at, "POST", `${path}/messages/batch`, {
    json: { messages },
    headers: { prefer: "wait" },
  });
  return answer.messages;
}

/** Leases messages of the subscription or queue at `path`. */
export async function pull(at: Address, path: string, options: PullOptions): Promise<readonly Pulled[]> {
  const answer = await call<{ messages: Pulled[] }>(at, "POST", `${path}/pull`, { json: options });
  return answer.messages;
}

/** Settles leased messages as done. */
export async function ack(
  at: Address,
  path: string,
  messages: readonly Pulled[],
): Promise<readonly Settled[]> {
  const json = { ackIds: messages.map(({ ackId }) => ackId) };
  return (await call<{ results: Settled[] }>(at, "POST", `${path}/ack`, { json })).results;
}

/** Gives leased messages back. */
export async function nack(
  at: Address,
  path: string,
  messages: readonly Pulled[],
  how: { delayMs?: number; reason?: string } = {},
): Promise<readonly Settled[]> {
  const json = { ackIds: messages.map(({ ackId }) => ackId), ...how };
  return (await call<{ results: Settled[] }>(at, "POST", `${path}/nack`, { json })).results;
}

export type Stats = Readonly<{
  settled: number;
  filtered: number;
  dead: number;
  leased: number;
  waiting: number;
  unread: number;
  /** Of a push subscription: how its endpoint fares. */
  endpoint?: Readonly<{ state: string; reason?: string }>;
}>;

/** The counters of the subscription or queue at `path`, all partitions together. */
export async function stats(at: Address, path: string): Promise<Stats> {
  return (await call<{ total: Stats }>(at, "GET", `${path}/stats`)).total;
}

/** Whether the subscription or queue at `path` has settled `total` messages, and has nothing else in hand. */
export async function caughtUp(at: Address, path: string, total: number): Promise<boolean> {
  const { settled, leased, waiting, unread } = await stats(at, path);
  return settled === total && leased + waiting + unread === 0;
}
