// Scenario 6: request and reply. Twenty askers each get the answer to their own question; one goes away while the endpoint is
// down, and finds its answer when it asks again; a worker that pulls answers too, once too late.

import { call, type Pulled, pull, send } from "../../test/support/client.ts";
import { until } from "../../test/support/until.ts";
import { type Receiver, startReceiver } from "../../test/support/webhook-receiver.ts";
import type { Scenario, Stage } from "./stage.ts";

const TOPIC = "/v1/topics/price.asked";
const PRICING = `${TOPIC}/subscriptions/pricing`;
const QUEUE = "/v1/queues/approval.asked";
const ASKERS = 20;
/** Longer than a request takes to be stored, and shorter than its asker meant to wait. */
const PATIENCE_MS = 3_000;

type Price = Readonly<{ sku: string; cents: number }>;
type Shown = Readonly<{ state: string; replies: readonly { standing: string; subscription: string }[] }>;
type Asking = Readonly<{ id: string; waitS: number; timeoutMs?: number }>;

export const priceAsked: Scenario = {
  title:
    "Price asked: requests and their replies, with an asker that goes away and one that is answered too late",
  play: async (stage) => {
    const priced: string[] = [];
    const pricing = await openPricing(stage, priced);
    await askMany(stage);
    await askAndLeave(stage, pricing, priced);
    await askAWorker(stage);
  },
};

const centsOf = (sku: string) => 100 * Number(sku.replace(/\D/g, ""));

async function openPricing(stage: Stage, priced: string[]): Promise<Receiver> {
  const receiver = await startReceiver(({ body }) => {
    const { sku } = JSON.parse(body.toString()) as { sku: string };
    priced.push(sku);
    return { status: 200, json: { sku, cents: centsOf(sku) } satisfies Price };
  });
  stage.atEnd(receiver.down);
  await call(stage.broker, "PUT", TOPIC, { json: { partitions: 2 } });
  const json = { type: "push", endpoint: { url: receiver.url }, retry: { minDelayMs: 50, maxDelayMs: 400 } };
  await call(stage.broker, "PUT", PRICING, { json });
  return receiver;
}

function ask<T>({ broker }: Stage, path: string, json: object, { id, waitS, timeoutMs }: Asking) {
  const headers = { "idempotency-key": id, prefer: `wait=${waitS}` };
  return send<T>(broker, "POST", `${path}/request`, { json, headers, ...(timeoutMs && { timeoutMs }) });
}

async function askMany(stage: Stage): Promise<void> {
  const skus = Array.from({ length: ASKERS }, (_, index) => `sku-${index + 1}`);
  const answers = await Promise.all(
    skus.map((sku) => ask<Price>(stage, TOPIC, { sku }, { id: `ask-${sku}`, waitS: 20 })),
  );
  stage.say("answered", `${answers.length} askers at once`);
  stage.check(
    "each asker got the answer to its own question",
    answers.map(({ status, body }) => [status, body]),
    skus.map((sku) => [200, { sku, cents: centsOf(sku) }]),
  );
}

async function askAndLeave(stage: Stage, pricing: Receiver, priced: string[]): Promise<void> {
  const { broker, say, check } = stage;
  await pricing.down();
  say("down", "pricing refuses connections");
  const asking = { id: "ask-and-leave", waitS: 20 };
  const left = await ask<Price>(stage, TOPIC, { sku: "sku-99" }, { ...asking, timeoutMs: PATIENCE_MS }).then(
    () => false,
    () => true,
  );
  check("an asker went away before its answer came", left, true);
  await pricing.up();
  // It would be probed within seconds. Told so, the broker probes it at once.
  await call(broker, "POST", `${PRICING}/resume`);
  await until("the answer is kept for it", async () => {
    const { state } = await call<Shown>(broker, "GET", `${TOPIC}/requests/${asking.id}`);
    return state === "answered";
  });
  const { status, body } = await ask<Price>(stage, TOPIC, { sku: "sku-99" }, asking);
  check(
    "asking again it got the answer that was kept",
    [status, body],
    [200, { sku: "sku-99", cents: 9_900 }],
  );
  check(
    "for which the price was looked up once",
    priced.filter((sku) => sku === "sku-99"),
    ["sku-99"],
  );
}

async function askAWorker(stage: Stage): Promise<void> {
  const { broker, say, check } = stage;
  await call(broker, "PUT", QUEUE, { json: {} });
  const prompt = ask<{ approved: boolean }>(stage, QUEUE, { discount: 5 }, { id: "prompt", waitS: 20 });
  const [replied] = await replyToNext(stage);
  check(
    "a worker that pulls answered in time",
    [replied, (await prompt).body],
    ["first", { approved: true }],
  );
  const tooLate = await ask<{ type: string }>(stage, QUEUE, { discount: 50 }, { id: "too-late", waitS: 1 });
  say("timeout", `${tooLate.status} ${tooLate.body.type}`);
  check("without an answer in time it is a 504", tooLate.status, 504);
  await replyToNext(stage);
  const { replies } = await call<Shown>(broker, "GET", `${QUEUE}/requests/too-late`);
  check(
    "the late answer is kept and shown",
    replies.map(({ standing }) => standing),
    ["late"],
  );
}

/** Pulls one request and approves it. Answers what became of the reply, and of the request. */
async function replyToNext({ broker, say }: Stage): Promise<[string, string]> {
  const [request] = await pull(broker, QUEUE, { waitMs: 10_000 });
  if (request === undefined) throw new Error("no request came");
  const { id, ackId, replyTo } = request as Pulled & { replyTo: string };
  const json = { ackId, replyTo, data: { approved: true } };
  const { reply, status } = await call<{ reply: string; status: string }>(broker, "POST", `${QUEUE}/reply`, {
    json,
  });
  say("replied", `to ${id}: ${reply}`);
  return [reply, status];
}
