// A small typed client for the contract's tests: fresh topics, queues and subscriptions, and the verbs on them.
// It knows HTTP and nothing else of the broker, so that it speaks to any deployment.

import { eventReader, frameReader } from "./contract-live";
import type { Receiver } from "./contract-receiver";

/** A broker to hold to its contract. */
export type Target = Readonly<{
  token: string;
  fetch(path: string, init: RequestInit): Promise<Response>;
  /** Opens a WebSocket, with nothing but its URL to say who asks. */
  socket(path: string): Promise<WebSocket>;
  /** An endpoint that this broker can reach. */
  receiver(): Promise<Receiver>;
}>;

export type Options = Readonly<{
  /** Sent as JSON. */
  json?: unknown;
  /** Sent as it is. */
  body?: string | Uint8Array;
  headers?: Readonly<Record<string, string>>;
  /** Another token than the root's; null sends none. */
  token?: string | null;
}>;

export type Answer<T> = Readonly<{ status: number; headers: Headers; body: T }>;
export type Problem = Readonly<{
  type: string;
  status: number;
  detail: string;
  retryable: boolean;
  field?: string;
}>;

export type NewMessage = Readonly<{
  id?: string;
  orderingKey?: string;
  subject?: string;
  data?: unknown;
  dataBase64?: string;
  contentType?: string;
  attributes?: Readonly<Record<string, string>>;
  priority?: number;
  delayMs?: number;
  ttlMs?: number;
}>;

/** What became of one published message: its place, or its problem. */
export type Published = Readonly<{
  id: string;
  partition: number;
  offset: number;
  duplicate: boolean;
  error?: Problem;
}>;

export type Delivered = Readonly<{
  id: string;
  partition: number;
  offset: number;
  /** Of a topic that has priorities. */
  priority?: number;
  orderingKey?: string;
  contentType: string;
  data?: string;
  dataBase64?: string;
  attributes?: Readonly<Record<string, string>>;
  attempt: number;
  ackId: string;
  publishedAt: number;
  deadlineAt: number;
  /** Of a request. */
  replyTo?: string;
}>;

export type PullOptions = Readonly<{ max?: number; waitMs?: number; ackDeadlineMs?: number }>;
export type NackOptions = Readonly<{ delayMs?: number; deadLetter?: boolean; reason?: string }>;

export type DeadLetter = Readonly<{
  id: string;
  partition: number;
  epoch: number;
  offset: number;
  diedAt: number;
  reason: string;
  detail?: string;
  attempts: number;
  redrives: number;
  history: readonly Readonly<{ at: number; error?: string; status?: number }>[];
  message?: Readonly<{ id: string; data?: string; dataBase64?: string }>;
}>;

export type PartitionStats = Readonly<
  Record<
    | "partition"
    | "startOffset"
    | "nextOffset"
    | "head"
    | "unread"
    | "settled"
    | "filtered"
    | "expired"
    | "dead"
    | "purged"
    | "moved"
    | "leased"
    | "waiting"
    | "readmitted"
    | "formerDead"
    | "epoch"
    | "replay",
    number
  >
> &
  Readonly<{ gaps: readonly Readonly<{ from: number; to: number; count: number; at: number }>[] }>;

export type Client = ReturnType<typeof contractClient>;
export type Topic = ReturnType<Client["topicAt"]>;
export type Subscription = ReturnType<Client["subscriptionAt"]>;

/** Longer than a message ever takes to arrive, and less than a test may. */
export const ARRIVES_MS = 10_000;
const LOOK_EVERY_MS = 100;

/** A client of `target`. */
export function contractClient(target: Target) {
  async function send<T = Problem>(method: string, path: string, options: Options = {}): Promise<Answer<T>> {
    const { json, headers, token = target.token } = options;
    const body = json === undefined ? options.body : JSON.stringify(json);
    const response = await target.fetch(path, {
      method,
      headers: {
        ...(token !== null && { authorization: `Bearer ${token}` }),
        ...(json !== undefined && { "content-type": "application/json" }),
        ...headers,
      },
      ...(body !== undefined && { body }),
    });
    const text = await response.text();
    const isJson = /\bjson\b/.test(response.headers.get("content-type") ?? "");
    return {
      status: response.status,
      headers: response.headers,
      body: (isJson ? JSON.parse(text) : text) as T,
    };
  }

  async function call<T>(method: string, path: string, options: Options = {}): Promise<T> {
    const { status, body } = await send<T>(method, path, options);
    if (status >= 200 && status < 300) return body;
    throw new Error(`${method} ${path} answered ${status}: ${JSON.stringify(body)}`);
  }

  const made: string[] = [];
  /** Creates what nobody else knows, to be deleted by `leave`. */
  async function make(path: string, settings: object): Promise<void> {
    made.push(path);
    await call("PUT", path, { json: settings });
  }

  /** Whatever can be published to: a topic or a queue. */
  const publisherAt = (path: string) => ({
    path,
    /** Publishes many and waits until they are stored. */
    publish: async (...messages: NewMessage[]) => {
      const options = { json: { messages }, headers: { prefer: "wait" } };
      return (await call<{ messages: Published[] }>("POST", `${path}/messages/batch`, options)).messages;
    },
    /** Publishes many, with whatever answer. */
    batch: (json: unknown, headers: Readonly<Record<string, string>> = {}) =>
      send<{ status: string; messages: Published[] } & Problem>("POST", `${path}/messages/batch`, {
        json,
        headers,
      }),
    /** Publishes one as its raw body, with whatever answer. */
    publishRaw: (body: string | Uint8Array, headers: Readonly<Record<string, string>> = {}) =>
      send<{ status: string; messages: Published[] } & Problem>("POST", `${path}/messages`, {
        body,
        headers,
      }),
  });

  /** Whatever can be pulled from: a subscription or a queue. */
  const subscriptionAt = (path: string) => {
    const settle = async (verb: string, deliveries: readonly Delivered[], more: object = {}) => {
      const json = { ackIds: deliveries.map(({ ackId }) => ackId), ...more };
      const answer = await call<{ results: { ackId: string; status: string }[] }>("POST", `${path}/${verb}`, {
        json,
      });
      return answer.results.map(({ status }) => status);
    };
    const pull = async (options: PullOptions = {}) =>
      (await call<{ messages: Delivered[] }>("POST", `${path}/pull`, { json: options })).messages;
    return {
      path,
      pull,
      /** Pulls until `count` messages have come; what does not come fails the test. */
      pullAll: async (count: number, options: PullOptions = {}) => {
        const all: Delivered[] = [];
        while (all.length < count) {
          const some = await pull({ max: count - all.length, waitMs: ARRIVES_MS, ...options });
          if (some.length === 0) throw new Error(`only ${all.length} of ${count} messages came`);
          all.push(...some);
        }
        return all;
      },
      ack: (deliveries: readonly Delivered[]) => settle("ack", deliveries),
      nack: (deliveries: readonly Delivered[], how: NackOptions = {}) => settle("nack", deliveries, how),
      extend: (deliveries: readonly Delivered[], ackDeadlineMs: number) =>
        settle("extend", deliveries, { ackDeadlineMs }),
      stats: async () => (await call<{ partitions: PartitionStats[] }>("GET", `${path}/stats`)).partitions,
      deadLetters: async () =>
        (await call<{ deadLetters: DeadLetter[] }>("GET", `${path}/dead-letters`)).deadLetters,
      pause: () => call("POST", `${path}/pause`),
      resume: () => call("POST", `${path}/resume`),
    };
  };

  const topicAt = (path: string) => ({
    ...publisherAt(path),
    /** Creates a subscription of this topic, from its beginning unless said otherwise. */
    subscribe: async (settings: object = {}, name = unique("sub")) => {
      const at = `${path}/subscriptions/${name}`;
      await call("PUT", at, { json: { startAt: "earliest", ...settings } });
      return subscriptionAt(at);
    },
  });

  /** Lets time pass at the broker: a long poll of a queue that stays empty. */
  const lapse = async (ms: number) => {
    const path = `/v1/queues/${unique("idle")}`;
    await make(path, {});
    await call("POST", `${path}/pull`, { json: { waitMs: ms } });
  };

  return {
    send,
    call,
    topicAt,
    subscriptionAt,
    receiver: target.receiver,
    /** Follows a topic; what comes of it is read as it comes. */
    follow: async (path: string, query = "", headers: Readonly<Record<string, string>> = {}) => {
      const authorization = `Bearer ${target.token}`;
      const init = { method: "GET", headers: { authorization, ...headers } };
      return eventReader(await target.fetch(`${path}/stream${query}`, init));
    },
    /** Listens to a subscription on a socket, as a browser does: with a ticket. */
    listen: async (path: string, query: Readonly<Record<string, string>> = {}) => {
      const { ticket } = await call<{ ticket: string }>("POST", `${path}/ticket`);
      return frameReader(await target.socket(`${path}/socket?${new URLSearchParams({ ticket, ...query })}`));
    },
    /** Creates a topic that nobody else knows. */
    topic: async (settings: object = {}, name = unique("topic")) => {
      await make(`/v1/topics/${name}`, settings);
      return topicAt(`/v1/topics/${name}`);
    },
    /** Creates a queue that nobody else knows. */
    queue: async (settings: object = {}, name = unique("queue")) => {
      await make(`/v1/queues/${name}`, settings);
      return { ...publisherAt(`/v1/queues/${name}`), ...subscriptionAt(`/v1/queues/${name}`) };
    },
    lapse,
    /** Deletes what was created here: a broker under test is left as it was found. */
    leave: async () => {
      for (const path of made.splice(0)) await send("DELETE", path);
    },
    /** Looks until `look` finds something, a bounded number of times: for what the broker does behind an answer. */
    eventually: async <T>(claim: string, look: () => Promise<T | undefined>): Promise<T> => {
      for (let looks = 0; looks < ARRIVES_MS / LOOK_EVERY_MS; looks++) {
        const found = await look();
        if (found !== undefined) return found;
        await lapse(LOOK_EVERY_MS);
      }
      throw new Error(`not within ${ARRIVES_MS} ms: ${claim}`);
    },
  };
}

/** A name that no other test uses. */
export function unique(prefix: string): string {
  return `${prefix}-${crypto.randomUUID()}`;
}

/** The code of a problem: the last part of its type. */
export function codeOf({ type }: Pick<Problem, "type">): string {
  return type.slice(type.lastIndexOf("#") + 1);
}
