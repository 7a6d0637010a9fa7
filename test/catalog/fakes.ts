// Stand-ins for the objects and for a D1 that can go away, so that a test decides which call fails and when.

import { env } from "cloudflare:workers";
import { CatalogStore } from "../../src/catalog/catalog-store";
import type { Catalog } from "../../src/catalog/entry-lifecycle";
import type { Env } from "../../src/env";
import { type BrokerError, ok, type Result, refuse } from "../../src/errors";
import type { RecordBatch } from "../../src/record-batch";
import { type Runtime, systemRuntime } from "../../src/runtime";
import type { SubscriptionCalls } from "../../src/subscription-calls";
import type { AppendCall, TopicCalls } from "../../src/topic-calls";

export type FakeObject = {
  alive: boolean;
  version: number;
  settings: unknown;
  /** A topic's subscriptions by generation. */
  attached: Set<string>;
  appended: RecordBatch[];
  /** The number of partitions that a topic's partition was last raised to. */
  cut?: number;
  woken: number;
};

export type Calls = {
  /** Every call in order, as `topic.provision 3`. */
  made: string[];
  /** Calls that throw, as a fault of the network does. */
  faults: Set<string>;
  refusals: Map<string, BrokerError>;
  /** Runs before a call, once, so that a test can put something in between. */
  before: Map<string, () => Promise<unknown>>;
  topics: Map<string, FakeObject>;
  subscriptions: Map<string, FakeObject>;
};

export function fakeObjects(): Calls & Pick<Env, "TOPIC" | "SUBSCRIPTION"> {
  const calls: Calls = {
    made: [],
    faults: new Set(),
    refusals: new Map(),
    before: new Map(),
    topics: new Map(),
    subscriptions: new Map(),
  };
  return { ...calls, TOPIC: { getByName: topic(calls) }, SUBSCRIPTION: { getByName: subscription(calls) } };
}

function topic(calls: Calls) {
  return (name: string) => {
    const { object, answer } = objectOf(calls, "topic", calls.topics, name);
    return {
      ...lifeOf(object, answer),
      attach: ({ generation }: { generation: string }) =>
        answer("attach", () => ok({ startOffset: object.attached.add(generation).size }), "alive"),
      detach: ({ generation }: { generation: string }) =>
        answer(
          "detach",
          () => {
            object.attached.delete(generation);
            return ok(null);
          },
          "alive",
        ),
      cut: ({ partitions }: { partitions: number }) =>
        answer(
          "cut",
          () => {
            object.cut = partitions;
            return ok(null);
          },
          "alive",
        ),
      append: ({ batches }: AppendCall) =>
        answer(
          "append",
          () => {
            object.appended.push(...batches);
            return ok(
              batches.map(({ batchId, count }) => ({ batchId, firstOffset: 0, count, exceptions: [] })),
            );
          },
          "alive",
        ),
    } as unknown as TopicCalls;
  };
}

function subscription(calls: Calls) {
  return (name: string) => {
    const { object, answer } = objectOf(calls, "subscription", calls.subscriptions, name);
    return lifeOf(object, answer) as unknown as SubscriptionCalls;
  };
}

type Answer = <T>(method: string, work: () => Result<T>, needs?: "alive") => Promise<Result<T>>;

function lifeOf(object: FakeObject, answer: Answer) {
  return {
    provision: ({ settings, version }: { settings: unknown; version: number }) =>
      answer("provision", () => {
        if (!object.alive) Object.assign(object, { alive: true, settings, version });
        return ok(null);
      }),
    configure: ({ settings, version }: { settings: unknown; version: number }) =>
      answer(
        "configure",
        () => {
          if (version > object.version) Object.assign(object, { settings, version });
          return ok(null);
        },
        "alive",
      ),
    remove: () =>
      answer("remove", () => {
        object.alive = false;
        return ok(null);
      }),
    wake: () =>
      answer(
        "wake",
        () => {
          object.woken += 1;
          return ok(null);
        },
        "alive",
      ),
  };
}

function objectOf(calls: Calls, noun: string, objects: Map<string, FakeObject>, name: string) {
  const held = objects.get(name);
  const object = held ?? {
    alive: false,
    version: 0,
    settings: undefined,
    attached: new Set<string>(),
    appended: [],
    woken: 0,
  };
  objects.set(name, object);
  const partition = name.slice(name.lastIndexOf(":") + 1);
  const answer: Answer = async (method, work, needs) => {
    const call = `${noun}.${method} ${partition}`;
    const before = calls.before.get(call);
    calls.before.delete(call);
    await before?.();
    calls.made.push(call);
    if (calls.faults.has(call)) throw new Error("Network connection lost.");
    const refusal = calls.refusals.get(call);
    if (refusal) return { ok: false, error: refusal };
    return needs && !object.alive ? refuse("gone", "not here") : work();
  };
  return { object, answer };
}

/** D1 `CATALOG`, which can be taken away or made to hang. */
export type FakeD1 = D1Database & { mode: "up" | "down" | "hanging" };

export function fakeD1(): FakeD1 {
  const real = (env as unknown as Env).CATALOG;
  const broken = () =>
    state.mode === "down"
      ? Promise.reject(new Error("D1_ERROR: Network connection lost."))
      : new Promise<never>(() => {});
  const brokenStatement = {
    bind: () => brokenStatement,
    run: broken,
    all: broken,
    raw: broken,
    first: broken,
  };
  const state = {
    mode: "up",
    prepare: (sql: string) => (state.mode === "up" ? real.prepare(sql) : brokenStatement),
    batch: (statements: D1PreparedStatement[]) => (state.mode === "up" ? real.batch(statements) : broken()),
  };
  return state as unknown as FakeD1;
}

/** A clock that a test moves. */
export type FakeRuntime = Runtime & { at: number };

export function fakeRuntime(at = 1_800_000_000_000): FakeRuntime {
  const runtime = { at, now: () => runtime.at, random: () => 0.5, newId: systemRuntime.newId };
  return runtime;
}

/** What background work was begun, to be awaited by the test. */
export type Behind = Promise<unknown>[];

export function fakeCatalog() {
  const objects = fakeObjects();
  const d1 = fakeD1();
  const runtime = fakeRuntime();
  const behind: Behind = [];
  const real = env as unknown as Env;
  const fakeEnv: Env = {
    INGRESS: real.INGRESS,
    LEDGER: real.LEDGER,
    TOPIC: objects.TOPIC,
    SUBSCRIPTION: objects.SUBSCRIPTION,
    LIMITER: real.LIMITER,
    REPLY: real.REPLY,
    CAPACITY: real.CAPACITY,
    CATALOG: d1,
    LOG: "off",
  };
  const store = new CatalogStore(d1, runtime, (work) => behind.push(work));
  const catalog: Catalog = { env: fakeEnv, store, runtime };
  return { catalog, store, objects, d1, runtime, behind, env: fakeEnv };
}

/** Empties the catalog: rows are kept from test to test within a file. */
export async function emptyCatalog(): Promise<void> {
  const { CATALOG } = env as unknown as Env;
  const tables = [
    "subscriptions",
    "topics",
    "tokens",
    "audit_log",
    "stranded_batches",
    "schedules",
    "sweep_cursor",
  ];
  await CATALOG.batch(tables.map((table) => CATALOG.prepare(`DELETE FROM ${table}`)));
}

/** The value of a result that must be one. */
export function must<T>(result: Result<T>): T {
  if (!result.ok) throw new Error(`refused: ${result.error.code}: ${result.error.detail}`);
  return result.value;
}

export function codeOf(result: Result<unknown>): string {
  return result.ok ? "ok" : result.error.code;
}
