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

type Part = Audience &
  Readonly<{
    settings: Readonly<{ type: "push" | "pull" } & Record<string, unknown>>;
    script: string;
    names: readonly string[];
  }>;

const EAGER = { maxAttempts: 1_000, onExhausted: "skip", retry: { minDelayMs: 0, maxDelayMs: 200 } } as const;
const PULL = { type: "pull", ...EAGER } as const;
const PUSH = { type: "push", ackDeadlineMs: 5_000, ...EAGER } as const;
const ENDPOINT_TIMEOUT_MS = 5_000;
const parts: readonly Part[] = [
  { subscription: "hooks", settings: PUSH, script: "chaos-receiver.ts", names: ["receiver"] },
  {
    ...{ subscription: "hooks-once", effectivelyOnce: true },
    settings: { ...PUSH, guarantee: "effectively-once" },
    ...{ script: "chaos-receiver.ts", names: ["receiver-once"] },
  },
  {
    ...{ subscription: "ledger", settings: PULL, script: "chaos-ledger-consumer.ts" },
    names: ["ledger-1", "ledger-2", "ledger-3"],
  },
  { subscription: "books", settings: PULL, script: "chaos-sqlite-consumer.ts", names: ["books"] },
];

export type Cast = Readonly<{ audiences: readonly Audience[]; actors: readonly Actor[] }>;
export type Casting = Readonly<{ dir: string; seed: number; effectivelyOnce: boolean }>;

/** Creates the topic and its subscriptions, and starts everybody. */
export async function assemble(broker: Address, casting: Casting): Promise<Cast> {
  await call(broker, "PUT", TOPIC, { json: { partitions: PARTITIONS } });
  const audiences = parts.filter((part) => casting.effectivelyOnce || !part.effectivelyOnce);
  const crews: (() => Actor[])[] = [];
  for (const part of audiences) crews.push(await prepare(broker, part, casting));
  return { audiences, actors: crews.flatMap((start) => start()) };
}

/** Creates the part's subscription; what it returns starts its processes. */
async function prepare(broker: Address, part: Part, { dir, seed }: Casting): Promise<() => Actor[]> {
  const { subscription, settings, script, names } = part;
  const port = await freePort();
  const endpoint = { url: `http://127.0.0.1:${port}/`, timeoutMs: ENDPOINT_TIMEOUT_MS };
  const json = { ...settings, ...(settings.type === "push" && { endpoint }), startAt: "earliest" };
  await call(broker, "PUT", `${TOPIC}/subscriptions/${subscription}`, { json });
  const env = {
    ...{ BROKER_URL: broker.url, BROKER_TOKEN: broker.token, TOPIC, SUBSCRIPTION: subscription },
    ...{ DIR: dir, PORT: String(port), SEED: String(seed), BOOKS: booksAt(dir) },
  };
  return () => names.map((name) => keepAlive(name, script, { ...env, NAME: name }));
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
