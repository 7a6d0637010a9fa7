// Who takes part in a run of chaos: the topic's subscriptions, and the processes that consume them. A process that is
// killed comes back at once as the same one.

import { join } from "node:path";
import type { Address } from "../support/broker.ts";
import { type Child, startChild } from "../support/child.ts";
import { call } from "../support/client.ts";
import { freePort } from "../support/port.ts";
import type { Audience } from "./chaos-checker.ts";

export const TOPIC = "/v1/topics/chaos";
const PARTITIONS = 3;

/** A process that is kept alive until it is dismissed. */
export type Actor = Readonly<{
  name: string;
  kill9(): void;
  /** What ended it, if anything but a kill did. */
  fault(): Error | undefined;
  dismiss(): Promise<unknown>;
}>;

type Part = Audience & Readonly<{ settings: object; script: string; names: readonly string[] }>;

const RETRY = { maxAttempts: 1_000, onExhausted: "skip", retry: { minDelayMs: 0, maxDelayMs: 200 } };
const PUSH = { type: "push", ackDeadlineMs: 5_000, ...RETRY };
const parts: readonly Part[] = [
  {
    ...{ subscription: "hooks", settings: PUSH },
    ...{ script: "chaos-receiver.ts", names: ["receiver"] },
  },
  {
    ...{ subscription: "hooks-once", effectivelyOnce: true },
    settings: { ...PUSH, guarantee: "effectively-once" },
    ...{ script: "chaos-receiver.ts", names: ["receiver-once"] },
  },
  {
    ...{ subscription: "ledger", settings: { type: "pull", ...RETRY } },
    ...{ script: "chaos-ledger-consumer.ts", names: ["ledger-1", "ledger-2", "ledger-3"] },
  },
  {
    ...{ subscription: "books", settings: { type: "pull", ...RETRY } },
    ...{ script: "chaos-sqlite-consumer.ts", names: ["books"] },
  },
];

export type Cast = Readonly<{ audiences: readonly Audience[]; actors: readonly Actor[] }>;
export type Casting = Readonly<{ dir: string; seed: number; effectivelyOnce: boolean }>;

/** Creates the topic and its subscriptions, and starts everybody. */
export async function assemble(broker: Address, { dir, seed, effectivelyOnce }: Casting): Promise<Cast> {
  await call(broker, "PUT", TOPIC, { json: { partitions: PARTITIONS } });
  const audiences = parts.filter((part) => effectivelyOnce || !part.effectivelyOnce);
  const actors: Actor[] = [];
  for (const { subscription, settings, script, names } of audiences) {
    const port = String(await freePort());
    const isPush = "guarantee" in settings || settings === PUSH;
    const endpoint = isPush && { endpoint: { url: `http://127.0.0.1:${port}/`, timeoutMs: 5_000 } };
    const json = { ...settings, ...endpoint, startAt: "earliest" };
    await call(broker, "PUT", `${TOPIC}/subscriptions/${subscription}`, { json });
    const env = {
      ...{ BROKER_URL: broker.url, BROKER_TOKEN: broker.token, TOPIC, SUBSCRIPTION: subscription },
      ...{ DIR: dir, PORT: port, SEED: String(seed), BOOKS: booksAt(dir) },
    };
    actors.push(...names.map((name) => keepAlive(name, script, { ...env, NAME: name })));
  }
  return { audiences, actors };
}

/** Where the consumer with a database of its own keeps it. */
export function booksAt(dir: string): string {
  return join(dir, "books.sqlite");
}

function keepAlive(name: string, script: string, env: Record<string, string>): Actor {
  let child: Child;
  let dismissed = false;
  let fault: Error | undefined;
  const live = () => {
    child = startChild(join(import.meta.dirname, script), { env, onLine: () => undefined });
    child.ended.then((code) => {
      if (dismissed) return;
      if (code === null) live();
      else fault = new Error(`${name} ended by itself, with ${code}`);
    });
  };
  live();
  return {
    name,
    kill9: () => child.kill9(),
    fault: () => fault,
    dismiss: () => {
      dismissed = true;
      child.stop();
      return child.ended;
    },
  };
}
