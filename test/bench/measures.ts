// What `npm run bench` compares: for each measure the broker's way and the control's, with the same bytes.

import { until } from "../support/until.ts";
import { type Call, driveFor, driveUntil, type Run, send, type Target } from "./load.ts";
import type { Receiver } from "./receiver.ts";

export type Bench = Readonly<{ broker: Target; control: Target; receiver: Receiver }>;
export type Measure = Readonly<{
  name: string;
  /** What the ratio of broker to control should be at least. */
  expected: number;
  /** One round each. What prepares a round, or clears up after it, is not in its time. */
  runBroker(): Promise<Run>;
  runControl(): Promise<Run>;
}>;

type Pulled = { messages: { ackId: string }[] };

const ROUND_MS = 350;
const BATCH = 100;
const PULLED_A_ROUND = 5_000;
const PUSHED_ONE_A_ROUND = 800;
const PUSHED_BATCH_A_ROUND = 8_000;

const data = JSON.stringify({
  order: "o-1",
  note: "x".repeat(200 - JSON.stringify({ order: "o-1", note: "" }).length),
});
const batchBody = JSON.stringify({
  messages: Array.from({ length: BATCH }, () => ({ data: JSON.parse(data) })),
});

/** All measures, each on topics of its own. */
export async function allMeasures(bench: Bench): Promise<readonly Measure[]> {
  return [
    await publishing(bench, { name: "single-accepted", expected: 0.7, count: 1, body: data }),
    await publishing(bench, { name: "single-stored", expected: 0.5, count: 1, body: data, stored: true }),
    await publishing(bench, { name: "publish-batch-100", expected: 0.5, count: BATCH, body: batchBody }),
    await pulling(bench),
    await pushing(bench, { name: "push-one", expected: 0.6, aRequest: 1, aRound: PUSHED_ONE_A_ROUND }),
    await pushing(bench, {
      name: "push-batch-100",
      expected: 0.6,
      aRequest: BATCH,
      aRound: PUSHED_BATCH_A_ROUND,
    }),
  ];
}

// ── publish ──────────────────────────────────────────────────────────────────────────────────────────

type Publishing = { name: string; expected: number; count: number; body: string; stored?: boolean };

async function publishing(
  { broker, control }: Bench,
  { name, expected, count, body, stored = false }: Publishing,
): Promise<Measure> {
  await put(broker, `/v1/topics/${name}`);
  const path = `/v1/topics/${name}/messages${count > 1 ? "/batch" : ""}`;
  const call: Call = { path, body, ...(stored && { headers: { prefer: "wait" } }) };
  const run = (to: Target) =>
    driveFor(ROUND_MS, async () => {
      await send(to, call);
      return count;
    });
  let published = 0;
  return {
    ...{ name, expected },
    runControl: () => run(control),
    runBroker: async () => {
      const round = await run(broker);
      published += round.count;
      // What was accepted crosses the Cloudflare Queue before the control has its turn.
      await until(
        `${published} messages are in ${name}`,
        async () => (await headOf(broker, name)) === published,
      );
      return round;
    },
  };
}

async function headOf(broker: Target, topic: string): Promise<number> {
  const page = await send(broker, { method: "GET", path: `/v1/topics/${topic}/messages?limit=1` });
  return (JSON.parse(page) as { head: number }).head;
}

// ── pull and ack ─────────────────────────────────────────────────────────────────────────────────────

async function pulling({ broker, control }: Bench): Promise<Measure> {
  const topic = "pull-ack-100";
  const subscription = `/v1/topics/${topic}/subscriptions/reader`;
  await put(broker, `/v1/topics/${topic}`);
  await put(broker, subscription, { type: "pull", startAt: "earliest", maxInFlight: 20_000 });
  await publish(broker, topic, BATCH);
  const sample = await send(broker, pullCall(subscription));
  await send(control, { method: "PUT", path: "/pulled", body: sample });
  const run = (to: Target) => driveUntil(PULLED_A_ROUND, () => pullAndAck(to, subscription));
  return {
    ...{ name: topic, expected: 0.4 },
    runControl: () => run(control),
    runBroker: async () => {
      // More than is asked for, so that no connection finds nothing while another still pulls.
      await publish(broker, topic, PULLED_A_ROUND);
      return run(broker);
    },
  };
}

async function pullAndAck(to: Target, subscription: string): Promise<number> {
  const { messages } = JSON.parse(await send(to, pullCall(subscription))) as Pulled;
  if (messages.length === 0) return 0;
  const body = JSON.stringify({ ackIds: messages.map(({ ackId }) => ackId) });
  await send(to, { path: `${subscription}/ack`, body });
  return messages.length;
}

function pullCall(subscription: string): Call {
  return { path: `${subscription}/pull`, body: JSON.stringify({ max: BATCH, waitMs: 0 }) };
}

// ── push ─────────────────────────────────────────────────────────────────────────────────────────────

type Pushing = { name: string; expected: number; aRequest: number; aRound: number };

async function pushing(
  { broker, control, receiver }: Bench,
  { name, expected, aRequest, aRound }: Pushing,
): Promise<Measure> {
  const subscription = `/v1/topics/${name}/subscriptions/hook`;
  await put(broker, `/v1/topics/${name}`);
  await put(broker, subscription, {
    ...{ type: "push", endpoint: { url: receiver.url }, startAt: "earliest" },
    ...(aRequest > 1 && { batch: { maxMessages: aRequest, maxWaitMs: 0 } }),
  });
  await send(broker, { path: `${subscription}/pause` });
  const requests = aRound / aRequest;
  let delivered = 0;
  const arrivals = async () => {
    const { ms } = await receiver.received(requests);
    // The time is from the first request to the last: it has room for one less.
    return { count: aRound - aRequest, ms };
  };
  return {
    ...{ name, expected },
    runBroker: async () => {
      await publish(broker, name, aRound);
      receiver.restart();
      await send(broker, { path: `${subscription}/resume` });
      const run = await arrivals();
      delivered += aRound;
      await until(`${delivered} deliveries of ${name} are settled`, async () => {
        const stats = await send(broker, { method: "GET", path: `${subscription}/stats` });
        return (JSON.parse(stats) as { total: { settled: number } }).total.settled === delivered;
      });
      await send(broker, { path: `${subscription}/pause` });
      return run;
    },
    runControl: async () => {
      const { headers, body } = receiver.sample();
      receiver.restart();
      const push = { url: receiver.url, count: requests, headers: ownHeaders(headers), body };
      await send(control, { path: "/push", body: JSON.stringify(push) });
      return arrivals();
    },
  };
}

/** Those that the sender chose, and not its HTTP client. */
function ownHeaders(headers: NodeJS.Dict<string | string[]>): Record<string, string> {
  const clients = new Set(["host", "connection", "content-length", "transfer-encoding", "accept-encoding"]);
  const own = Object.entries(headers).filter(([name]) => !clients.has(name) && !name.startsWith("cf-"));
  return Object.fromEntries(own.map(([name, value]) => [name, String(value)]));
}

// ── preparing ────────────────────────────────────────────────────────────────────────────────────────

async function put(broker: Target, path: string, settings: object = {}): Promise<void> {
  await send(broker, { method: "PUT", path, body: JSON.stringify(settings) });
}

/** Publishes `count` messages, stored before this returns. */
async function publish(broker: Target, topic: string, count: number): Promise<void> {
  const call = { path: `/v1/topics/${topic}/messages/batch`, body: batchBody, headers: { prefer: "wait" } };
  let left = count / BATCH;
  await driveUntil(count, async () => {
    if (left-- <= 0) return 0;
    await send(broker, call);
    return BATCH;
  });
}
