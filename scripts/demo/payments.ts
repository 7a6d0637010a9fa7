// Scenario 1: every payment is confirmed twice and its consumers are killed with -9 at every step, and yet each
// payment has exactly one entry and one transfer. A naive consumer beside them loses one.

import { join } from "node:path";
import { call, caughtUp, publishStored } from "../../test/support/client.ts";
import { until } from "../../test/support/until.ts";
import { startReceiver } from "../../test/support/webhook-receiver.ts";
import { openBooks } from "./books.ts";
import type { Scenario, Stage } from "./stage.ts";
import { type Supervised, supervise } from "./supervisor.ts";

const TOPIC = "/v1/topics/payments.confirmed";
const PAYMENTS = 40;
const ACCOUNTING_KILLS = ["leased", "entered", "committed", "acked"];
const BANK_KILLS = ["leased", "claimed", "transferred", "completed", "acked"];

export const payments: Scenario = {
  title: "Payments: two honest consumers and a naive one, killed with -9 at every step",
  play: async (stage) => {
    await createTopic(stage);
    const bank = await startBank(stage);
    const consumers = startConsumers(stage, bank.url);
    const messages = paymentMessages();
    await publishTwice(stage, messages);
    await Promise.all(consumers.map((consumer) => finished(stage, consumer)));
    checkOutcome(stage, messages.map(({ id }) => id).sort(), bank);
  },
};

async function createTopic({ broker }: Stage): Promise<void> {
  await call(broker, "PUT", TOPIC, { json: { partitions: 2 } });
  for (const name of ["accounting", "bank", "naive"]) {
    const json = { type: "pull", retry: { minDelayMs: 20, maxDelayMs: 100 }, startAt: "earliest" };
    await call(broker, "PUT", `${TOPIC}/subscriptions/${name}`, { json });
  }
}

function paymentMessages() {
  return Array.from({ length: PAYMENTS }, (_, index) => {
    const payment = `payment-${String(index + 1).padStart(3, "0")}`;
    return { id: payment, data: { payment, cents: 1_000 + index } };
  });
}

async function publishTwice({ broker, say, check }: Stage, messages: ReturnType<typeof paymentMessages>) {
  const first = await publishStored(broker, TOPIC, messages);
  say("published", `${first.length} payments`);
  const second = await publishStored(broker, TOPIC, messages);
  const duplicates = second.filter(({ duplicate }) => duplicate === true);
  say("published", `${second.length} payments again: ${duplicates.length} were duplicates`);
  check("a payment sent twice is stored once", duplicates.length, messages.length);
}

/** The bank: it makes one transfer per idempotency key, however often it is asked. */
async function startBank({ say, atEnd }: Stage) {
  const transfers = new Map<string, string>();
  const requests: string[] = [];
  const receiver = await startReceiver(({ headers }) => {
    const key = headers["idempotency-key"] ?? "";
    requests.push(key);
    if (transfers.has(key)) say("repeated", `the bank was asked again for ${key}: it answers as before`);
    else transfers.set(key, `transfer-${transfers.size + 1}`);
    return { status: 201, json: { transfer: transfers.get(key) } };
  });
  atEnd(receiver.down);
  return { url: receiver.url, transfers, requests };
}

function startConsumers(stage: Stage, bankUrl: string): Supervised[] {
  const consumer = (name: string, killAt: readonly string[], env: Record<string, string>) =>
    supervise(stage, {
      ...{ name, killAt, env },
      script: `payments-${name}.ts`,
      subscription: `${TOPIC}/subscriptions/${name}`,
    });
  return [
    consumer("accounting", ACCOUNTING_KILLS, { BOOKS: books(stage, "accounting") }),
    consumer("bank", BANK_KILLS, { BANK_URL: bankUrl }),
    consumer("naive", ["remembered"], { BOOKS: books(stage, "naive") }),
  ];
}

function books({ dir }: Stage, name: string): string {
  return join(dir, `${name}.sqlite`);
}

async function finished({ broker, say }: Stage, { name, kills }: Supervised): Promise<void> {
  const path = `${TOPIC}/subscriptions/${name}`;
  await until(`${name} settled every payment`, () => caughtUp(broker, path, PAYMENTS), { withinMs: 60_000 });
  say("settled", `${name} is through, after ${kills.length} kills`);
}

function checkOutcome(stage: Stage, ids: readonly string[], bank: Awaited<ReturnType<typeof startBank>>) {
  const { check, say } = stage;
  check("accounting has exactly one entry per payment", entries(stage, "accounting"), ids);
  check("the bank made exactly one transfer per payment", [...bank.transfers.keys()].sort(), ids);
  check("the bank was asked again, for the claim cut off", bank.requests.length > ids.length, true);
  const kept = entries(stage, "naive");
  const lost = ids.filter((id) => !kept.includes(id));
  say("lost", `naive remembered ${lost.join(", ")} and never entered it`);
  check("naive lost the payment it was killed over", lost.length, 1);
}

function entries(stage: Stage, name: string): string[] {
  const opened = openBooks(books(stage, name));
  const found = opened.entries();
  opened.close();
  return found;
}
