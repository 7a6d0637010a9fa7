// The frame of the consumers that pull: a process of its own, which can be killed with -9 anywhere. It notes what it
// is handed and what it settles, and serves messages of one key one by one, in order, and keys beside each other.

import type { Address } from "../support/broker.ts";
import { ack, type Pulled, pull } from "../support/client.ts";
import { pause } from "../support/until.ts";
import { isIntact } from "./chaos-body.ts";
import { clock, openJournal } from "./chaos-journal.ts";

const {
  BROKER_URL = "",
  BROKER_TOKEN = "",
  TOPIC = "",
  SUBSCRIPTION = "",
  NAME = "",
  DIR = "",
} = process.env;

export const broker: Address = { url: BROKER_URL, token: BROKER_TOKEN };
/** Who this is, in every life. */
export const name = NAME;
export const dir = DIR;
export const path = `${TOPIC}/subscriptions/${SUBSCRIPTION}`;
export const journal = openJournal(dir, name);

const PULL = { max: 20, waitMs: 1_000, ackDeadlineMs: 3_000 };
const AGAIN_MS = 50;

/** What the journal says of a message. */
export function entry({ id, orderingKey, partition, offset }: Pulled) {
  return { subscription: SUBSCRIPTION, id, key: orderingKey ?? null, partition, offset };
}

/** Repeats a request until it is answered: the broker may be dead, or dying under it. */
export async function stubbornly<T>(request: () => Promise<T>): Promise<T> {
  while (true) {
    try {
      return await request();
    } catch {
      await pause(AGAIN_MS);
    }
  }
}

/**
 * Pulls for ever. `serve` does the work of one message and says whether it is done: then it is acked. If it is not,
 * what follows it in its key is left to whoever gets it next.
 */
export async function consume(serve: (message: Pulled) => Promise<boolean>): Promise<never> {
  while (true) {
    const askedAt = clock();
    const messages = await pull(broker, path, PULL).catch(() => undefined);
    if (messages === undefined) await pause(AGAIN_MS);
    for (const message of messages ?? []) noteDelivery(message, askedAt);
    await Promise.all(lanesOf(messages ?? []).map((lane) => serveInOrder(lane, serve)));
  }
}

function noteDelivery(message: Pulled, askedAt: number): void {
  const { key, ...rest } = entry(message);
  const intact = isIntact(message.data, { id: message.id, key });
  journal.write({ type: "delivered", askedAt, attempt: message.attempt, intact, key, ...rest });
}

/** The messages of each key; one without a key is alone. */
function lanesOf(messages: readonly Pulled[]): Pulled[][] {
  return [...Map.groupBy(messages, ({ orderingKey, ackId }) => orderingKey ?? ackId).values()];
}

async function serveInOrder(lane: readonly Pulled[], serve: (message: Pulled) => Promise<boolean>) {
  for (const message of lane) {
    if (!(await serve(message))) return;
    const results = await ack(broker, path, [message]).catch(() => []);
    if (results[0]?.status === "acked") journal.write({ type: "acked", ...entry(message) });
  }
}
