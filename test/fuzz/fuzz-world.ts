// What a fuzzing run finds on the broker: names that exist, so that hostile input gets past the first check, and the
// state that refused requests must leave as it was.

import type { World } from "./hostile-requests.ts";
import { REFUSED_URL } from "./schema-samples.ts";

export type Ask = (
  method: string,
  path: string,
  json?: unknown,
) => Promise<Readonly<{ status: number; body: unknown }>>;
/** What is stored, as one text for each thing. */
export type State = ReadonlyMap<string, string>;

/** Written behind requests or by time, and no change that a request made. */
const VOLATILE = new Set([
  "lastUsedAt",
  "health",
  "nextRunAt",
  "lastRunAt",
  "lastRun",
  "nextAt",
  "lastFire",
  "verification",
]);
const PAGES = 50;
/** Values that fit where the document shows none. */
const FITTING = {
  orderingKey: ["k1", "k2"],
  "Pennypost-Ordering-Key": ["k1"],
  "Idempotency-Key": ["m1", "m4"],
  header: ["X-Id"],
  keepHeaders: ["X-Id"],
  signingSecret: [`whsec_${"MfKQ".repeat(8)}`],
  traceparent: ["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
};

/** Makes one of everything, under names that begin with `prefix`. */
export async function makeWorld(ask: Ask, prefix: string, rootToken: string): Promise<World> {
  const [topic, queue] = [`${prefix}-t`, `${prefix}-q`];
  const at = `/v1/topics/${topic}`;
  await must(ask, "PUT", at, {});
  await must(ask, "PUT", `/v1/queues/${queue}`, {});
  await must(ask, "PUT", `${at}/subscriptions/s`, {});
  await must(ask, "PUT", `${at}/subscriptions/p`, { type: "push", endpoint: { url: REFUSED_URL } });
  const message = { topic, cron: "0 0 1 1 *", message: { data: "x" } };
  await must(ask, "PUT", `/v1/schedules/${prefix}`, message);
  await must(ask, "PUT", `${at}/subscriptions/s/snapshots/${prefix}`);
  const ids = ["m1", "m2", "m3"];
  const delayed = ["m5", "m6"].map((id) => ({ id, data: id, delayMs: 86_400_000 }));
  for (const base of [at, `/v1/queues/${queue}`]) {
    const messages = [...ids.map((id) => ({ id, data: id })), ...delayed];
    await must(ask, "POST", `${base}/messages/batch`, { messages });
  }
  const claim = { messageId: "m1", claimant: "a", leaseMs: 43_200_000 };
  const { fence } = (await must(ask, "POST", `/v1/ledgers/${prefix}/claims`, claim)) as { fence: number };
  const scopes = [{ verb: "publish", topics: topic }];
  const made = (await must(ask, "POST", "/v1/tokens", { name: prefix, scopes })) as { token: string };
  const leased = await pullFrom(ask, `/v1/queues/${queue}`);
  const [doomed = ""] = await pullFrom(ask, `${at}/subscriptions/s`);
  await must(ask, "POST", `${at}/subscriptions/s/nack`, { ackIds: [doomed], deadLetter: true });
  const known = {
    topic: [topic, queue],
    queue: [queue, topic],
    subscription: ["s", queue, "p"],
    ackIds: leased,
    ledger: [prefix],
    schedule: [prefix],
    snapshot: [prefix],
    messageId: ["m1", "m%2F2"],
    id: [...ids, "m5", "0.0.0"],
    fence: [String(fence)],
    ids: ["0.0.0"],
    token: [made.token],
    ...FITTING,
  };
  const spare = `${prefix}-spare`;
  const spares = {
    ...{ topic: [spare], queue: [spare], subscription: [spare], schedule: [spare], snapshot: [spare] },
    ...{ name: ["producer"], id: ["m6"] },
  };
  const authorizations = [`Bearer ${rootToken}`, `Bearer ${made.token}`, "Basic x"];
  return { known, spares, authorizations };
}

/** Leases what there is for as long as may be, and returns the ack ids. */
async function pullFrom(ask: Ask, path: string): Promise<string[]> {
  const json = { max: 2, waitMs: 10_000, ackDeadlineMs: 43_200_000 };
  const { messages } = (await must(ask, "POST", `${path}/pull`, json)) as { messages: { ackId: string }[] };
  return messages.map(({ ackId }) => ackId);
}

/** Takes away what `makeWorld` made that can be seen by others. */
export async function removeWorld(ask: Ask, { known, spares }: World): Promise<void> {
  for (const [kind, names] of [
    ["schedules", [...(known.schedule ?? []), ...(spares.schedule ?? [])]],
    ["topics", [known.topic?.[0], ...(spares.topic ?? [])]],
    ["queues", [known.queue?.[0], ...(spares.queue ?? [])]],
  ] as const) {
    for (const name of names) await ask("DELETE", `/v1/${kind}/${name}`);
  }
}

/** What is stored now: what exists with its settings, and how far the known logs reach. */
export async function readState(ask: Ask, { known }: World): Promise<State> {
  const [topic = "", queue = ""] = known.topic ?? [];
  const at = `/v1/topics/${topic}`;
  const lists: [string, string][] = [
    ["topics", "/v1/topics"],
    ["queues", "/v1/queues"],
    ["tokens", "/v1/tokens"],
    ["schedules", "/v1/schedules"],
    ["subscriptions", `${at}/subscriptions`],
    ["snapshots", `${at}/subscriptions/s/snapshots`],
  ];
  const things = await Promise.all(lists.map(([kind, path]) => listOf(ask, kind, path)));
  const heads = await Promise.all([topic, queue].map((name) => headsOf(ask, name)));
  return new Map([...things, ...heads].flat());
}

/** The names of what differs between two states. */
export function changesOf(before: State, after: State): string[] {
  const names = new Set([...before.keys(), ...after.keys()]);
  return [...names].filter((name) => before.get(name) !== after.get(name)).sort();
}

/** Whether this name of a change is that of a log, which what was accepted earlier may still reach. */
export function isHead(name: string): boolean {
  return name.startsWith("head ");
}

async function listOf(ask: Ask, kind: string, path: string): Promise<[string, string][]> {
  const found: [string, string][] = [];
  let after = "";
  for (let page = 0; page < PAGES; page++) {
    const query = after === "" ? "" : `&after=${encodeURIComponent(after)}`;
    const body = (await must(ask, "GET", `${path}?limit=100${query}`)) as Record<string, unknown>;
    const items = (body[kind] ?? []) as Record<string, unknown>[];
    for (const item of items) found.push([`${kind} ${item.id ?? item.name}`, steady(item)]);
    if (typeof body.next !== "string") return found;
    after = body.next;
  }
  return found;
}

async function headsOf(ask: Ask, name: string): Promise<[string, string][]> {
  const body = (await must(ask, "GET", `/v1/topics/${name}/stats`)) as {
    partitions: { partition: number; head: number }[];
  };
  return body.partitions.map(({ partition, head }) => [`head ${name} ${partition}`, String(head)]);
}

function steady(item: unknown): string {
  const { endpoint } = item as Readonly<{ endpoint?: { verification?: unknown } }>;
  // The broker asks such an endpoint by itself, and each answer is a change of the settings.
  const asked = endpoint?.verification ? { version: undefined, updatedAt: undefined } : {};
  return JSON.stringify({ ...(item as object), ...asked }, (key, value: unknown) =>
    VOLATILE.has(key) ? undefined : value,
  );
}

async function must(ask: Ask, method: string, path: string, json?: unknown): Promise<unknown> {
  for (let tries = 1; ; tries++) {
    const { status, body } = await ask(method, path, json);
    if (status < 300) return body;
    if (status < 500 || tries === 5) throw new Error(`${method} ${path} answered ${status}`);
  }
}
