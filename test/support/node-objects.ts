// The real objects under Node, over the simulation's storage and without its faults.
// An object can crash: its memory is gone, its storage is as it was committed.
import type { DispatchCalls } from "../../src/dispatch-calls";
import type { Env } from "../../src/env";
import type { Runtime } from "../../src/runtime";
import { SubscriptionObject } from "../../src/subscription/subscription-object";
import type { SubscriptionCalls } from "../../src/subscription-calls";
import { TopicObject } from "../../src/topic/topic-object";
import type { TopicCalls } from "../../src/topic-calls";
import { ObjectStorage } from "../simulation/object-storage";

type Instance = { runtime: Runtime; alarm(): Promise<void> };

/** A namespace of objects of one class, each with its storage; calls cross as copies, as over RPC. */
class NodeNamespace<C> {
  private readonly storages = new Map<string, ObjectStorage>();
  private readonly instances = new Map<string, Instance>();

  constructor(private readonly create: (storage: ObjectStorage) => Instance) {}

  getByName(name: string): C {
    const call =
      (method: string) =>
      async (...args: unknown[]) => {
        const instance = this.instance(name) as unknown as Record<
          string,
          (...a: unknown[]) => Promise<unknown>
        >;
        const answer = await instance[method]?.(...structuredClone(args));
        return structuredClone(answer);
      };
    return new Proxy({}, { get: (_, method) => call(String(method)) }) as C;
  }

  crash(name: string): void {
    this.instances.delete(name);
  }

  /** Runs the alarm if it is due. */
  async tick(name: string, now: number): Promise<boolean> {
    const storage = this.storages.get(name);
    if (storage?.alarmAt === undefined || storage.alarmAt > now) return false;
    storage.alarmAt = undefined;
    await this.instance(name).alarm();
    return true;
  }

  private instance(name: string): Instance {
    const storage = this.storages.get(name) ?? new ObjectStorage();
    const instance = this.instances.get(name) ?? this.create(storage);
    this.storages.set(name, storage);
    this.instances.set(name, instance);
    return instance;
  }
}

export function nodeObjects(runtime: Runtime, dispatcher: DispatchCalls) {
  const pending = new Set<Promise<unknown>>();
  const waitUntil = (promise: Promise<unknown>) => {
    const tracked = promise.finally(() => pending.delete(tracked));
    pending.add(tracked);
  };
  const create = (Class: typeof TopicObject | typeof SubscriptionObject) => (storage: ObjectStorage) => {
    const blockConcurrencyWhile = (work: () => Promise<void>) => work();
    const getWebSockets = () => [];
    const exports = { Dispatcher: dispatcher };
    const ctx = { storage, waitUntil, blockConcurrencyWhile, getWebSockets, exports };
    const instance = new (Class as unknown as new (ctx: unknown, env: unknown) => Instance)(ctx, env);
    instance.runtime = runtime;
    return instance;
  };
  const topics = new NodeNamespace<TopicCalls>(create(TopicObject));
  const subscriptions = new NodeNamespace<SubscriptionCalls>(create(SubscriptionObject));
  const env = { TOPIC: topics, SUBSCRIPTION: subscriptions } as unknown as Env;
  /** Resolves when nothing that was started in the background is left. */
  const idle = async () => {
    while (pending.size > 0) await Promise.allSettled([...pending]);
  };
  return { topics, subscriptions, idle };
}
