// Counts what Cloudflare bills while the real objects work: hooks on the prototypes of the platform's own classes
// and of the two objects, in this isolate. Production code has none.

import { runInDurableObject } from "cloudflare:test";
import type { Env } from "../../src/env";
import { ReplyObject } from "../../src/reply/reply-object";
import type { ReplyCalls } from "../../src/reply-calls";
import { SubscriptionObject } from "../../src/subscription/subscription-object";
import type { SubscriptionCalls } from "../../src/subscription-calls";
import { TopicObject } from "../../src/topic/topic-object";
import type { TopicCalls } from "../../src/topic-calls";
import { type Counts, queueOperations } from "./prices";

type Writable<T> = { -readonly [K in keyof T]: T[K] };
type Method = (this: unknown, ...args: unknown[]) => unknown;
/** An ended call to an object, or an alarm that fired: `call` is `topic.append`, `subscription.alarm` and so on. */
export type ObjectCall = Readonly<{ call: string; args: readonly unknown[] }>;
type Listener = (ended: ObjectCall) => void;

// What is called over RPC, or by the platform. Typed, so that a call that is added is counted or does not compile.
const TOPIC_CALLS: Readonly<Record<keyof TopicCalls | "alarm", true>> = {
  provision: true,
  configure: true,
  remove: true,
  append: true,
  attach: true,
  cut: true,
  adopt: true,
  cuts: true,
  knows: true,
  producer: true,
  beginProducer: true,
  forgetProducer: true,
  describe: true,
  detach: true,
  read: true,
  follow: true,
  readOffsets: true,
  readLanes: true,
  find: true,
  locate: true,
  keyedOffsets: true,
  rejections: true,
  cancel: true,
  reschedule: true,
  delayed: true,
  stats: true,
  wake: true,
  alarm: true,
};
const SUBSCRIPTION_CALLS: Readonly<Record<keyof SubscriptionCalls | "alarm", true>> = {
  provision: true,
  configure: true,
  remove: true,
  notify: true,
  pull: true,
  ready: true,
  ack: true,
  nack: true,
  extend: true,
  report: true,
  probe: true,
  verify: true,
  attempts: true,
  expire: true,
  settledTo: true,
  deadLetters: true,
  findDeadLetters: true,
  redrive: true,
  purge: true,
  moveLetters: true,
  seek: true,
  position: true,
  pendingKeys: true,
  stats: true,
  whereabouts: true,
  audit: true,
  wake: true,
  alarm: true,
};

const REPLY_CALLS: Readonly<Record<keyof ReplyCalls | "alarm", true>> = {
  open: true,
  answer: true,
  hear: true,
  show: true,
  alarm: true,
};

export class CostCounter {
  /** Calls to objects that have begun and not ended. */
  inFlight = 0;
  private counts: Writable<Counts> = noCounts();
  /** Each billed thing by its name, to see where an excess comes from. */
  private byName = new Map<string, number>();
  /** A write whose rows nobody told, since the last restart. */
  private missed: string | undefined;
  private readonly listeners = new Set<Listener>();
  private readonly queued: Uint8Array[] = [];

  /** Hooks every class that bills something. `stub` is any object: its storage shows the platform's classes. */
  static async install(stub: DurableObjectStub, env: Env): Promise<CostCounter> {
    const counter = new CostCounter();
    counter.hookCalls("topic", TopicObject.prototype, Object.keys(TOPIC_CALLS));
    counter.hookCalls("subscription", SubscriptionObject.prototype, Object.keys(SUBSCRIPTION_CALLS));
    counter.hookCalls("reply", ReplyObject.prototype, Object.keys(REPLY_CALLS));
    await runInDurableObject(stub, (_, { storage }) => {
      counter.hookStorage(storage);
      counter.hookKeys(storage);
    });
    counter.hookD1(env.LEDGER);
    counter.hookQueue(env.INGRESS);
    return counter;
  }

  /** Forgets what was counted so far. */
  restart(): void {
    this.counts = noCounts();
    this.byName = new Map();
    this.missed = undefined;
  }

  read(): Counts {
    if (this.missed !== undefined) throw new Error(`not counted: ${this.missed}`);
    return { ...this.counts };
  }

  /** What was counted, each by its statement or call, most first. */
  breakdown(): readonly (readonly [string, number])[] {
    return [...this.byName].sort(([, a], [, b]) => b - a);
  }

  /** Calls `listener` after each call to an object, until the function it answers is called. */
  onCall(listener: Listener): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  workerRequest(name: string): void {
    this.add("workerRequests", 1, `worker ${name}`);
  }

  /** What was sent to the Cloudflare Queue since the last time: it is held here, for the test to carry it on. */
  takeQueued(): readonly Uint8Array[] {
    return this.queued.splice(0);
  }

  private add(what: keyof Counts, count: number, name: string): void {
    if (count === 0) return;
    this.counts[what] += count;
    const key = `${what}: ${name}`;
    this.byName.set(key, (this.byName.get(key) ?? 0) + count);
  }

  private hookCalls(noun: string, prototype: object, names: readonly string[]): void {
    for (const name of names) {
      const call = `${noun}.${name}`;
      replace(prototype, name, (original) => {
        const counter = this;
        return async function (this: unknown, ...args: unknown[]) {
          counter.add("objectRequests", 1, call);
          counter.inFlight += 1;
          try {
            return await original.apply(this, args);
          } finally {
            counter.inFlight -= 1;
            for (const listener of counter.listeners) listener({ call, args });
          }
        };
      });
    }
  }

  private hookStorage(storage: DurableObjectStorage): void {
    const counter = this;
    replace(Object.getPrototypeOf(storage.sql), "exec", (exec) => {
      return function (this: unknown, ...args: unknown[]) {
        const statement = oneLine(args[0]);
        // Its rows are known only once it was read to its end: a write must not pass by uncounted.
        if (/\breturning\b/i.test(statement)) throw new Error(`not counted: ${statement}`);
        const cursor = exec.apply(this, args) as SqlStorageCursor<Record<string, SqlStorageValue>>;
        counter.add("rowsWritten", cursor.rowsWritten, statement);
        return cursor;
      };
    });
    replace(Object.getPrototypeOf(storage), "setAlarm", (setAlarm) => {
      return function (this: unknown, ...args: unknown[]) {
        counter.add("rowsWritten", 1, "setAlarm");
        return setAlarm.apply(this, args);
      };
    });
  }

  /** A key is a row of a hidden table; what deletes all of them counts as if it deleted each. */
  private hookKeys(storage: DurableObjectStorage): void {
    const counter = this;
    const keys = Object.getPrototypeOf(storage.kv);
    replace(keys, "put", (put) => {
      return function (this: unknown, ...args: unknown[]) {
        counter.add("rowsWritten", 1, `put ${String(args[0]).replace(/\d+/, "")}`);
        return put.apply(this, args);
      };
    });
    replace(keys, "delete", () => () => {
      throw new Error("not counted: kv.delete()");
    });
    replace(Object.getPrototypeOf(storage), "deleteAll", (deleteAll) => {
      return function (this: unknown, ...args: unknown[]) {
        const held = [...(this as DurableObjectStorage).kv.list()].length;
        counter.add("rowsWritten", held, "deleteAll");
        return deleteAll.apply(this, args);
      };
    });
  }

  private hookD1(d1: D1Database): void {
    const counter = this;
    const add = ({ meta }: D1Result, statement: unknown) => {
      this.add("d1RowsWritten", meta.rows_written, sqlOf(statement));
    };
    replace(Object.getPrototypeOf(d1), "batch", (batch) => {
      return async function (this: unknown, ...args: unknown[]) {
        const results = (await batch.apply(this, args)) as D1Result[];
        results.forEach((result, i) => {
          add(result, (args[0] as unknown[])[i]);
        });
        return results;
      };
    });
    const statements = Object.getPrototypeOf(d1.prepare("SELECT 1"));
    for (const name of ["run", "all"]) {
      replace(statements, name, (original) => {
        return async function (this: unknown, ...args: unknown[]) {
          const result = (await original.apply(this, args)) as D1Result;
          add(result, this);
          return result;
        };
      });
    }
    for (const name of ["raw", "first"]) {
      replace(statements, name, (original) => {
        return function (this: unknown, ...args: unknown[]) {
          // Their answers do not tell the rows: a write must not pass by uncounted.
          const sql = sqlOf(this);
          if (!/^select\b/i.test(sql)) counter.missed = `${name}() of ${sql}`;
          return original.apply(this, args);
        };
      });
    }
  }

  private hookQueue(queue: Queue<ArrayBuffer | Uint8Array>): void {
    const hold = (body: unknown) => {
      const packed = new Uint8Array(body instanceof Uint8Array ? body : (body as ArrayBuffer));
      this.add("queueOperations", queueOperations(packed.byteLength), "send, read and delete");
      this.queued.push(packed);
    };
    replace(Object.getPrototypeOf(queue), "send", () => async (body: unknown) => hold(body));
    replace(Object.getPrototypeOf(queue), "sendBatch", () => async (messages: unknown) => {
      for (const { body } of messages as readonly MessageSendRequest[]) hold(body);
    });
  }
}

function replace(
  prototype: Record<string, unknown> | object,
  name: string,
  make: (original: Method) => Method,
) {
  const holder = prototype as Record<string, Method>;
  const original = holder[name];
  if (original === undefined) throw new Error(`there is no ${name}() to count`);
  holder[name] = make(original);
}

function sqlOf(statement: unknown): string {
  return oneLine((statement as { statement?: unknown }).statement);
}

function oneLine(sql: unknown): string {
  return String(sql).replace(/\s+/g, " ").trim();
}

function noCounts(): Writable<Counts> {
  return { rowsWritten: 0, objectRequests: 0, queueOperations: 0, d1RowsWritten: 0, workerRequests: 0 };
}
