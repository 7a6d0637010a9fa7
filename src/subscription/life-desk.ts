// The life of a subscription in one partition: it is provisioned, it takes other settings, and it is removed. The catalog
// says when, and may say it again: what came before changes nothing.

import { ok, type Result } from "../errors";
import type { Runtime } from "../runtime";
import type { ConfigureCall, SubscriptionProvision } from "../subscription-calls";
import type { SocketDesk } from "./socket-desk";
import type { SubscriptionMemory } from "./subscription-memory";
import type { SubscriptionStore } from "./subscription-store";
import type { WakeDesk } from "./wake-desk";

export type LifeParts = Readonly<{
  memory: SubscriptionMemory;
  store: SubscriptionStore;
  sockets: Pick<SocketDesk, "dismiss">;
  wakes: Pick<WakeDesk, "wake">;
  runtime: () => Runtime;
}>;

export class LifeDesk {
  constructor(private readonly parts: LifeParts) {}

  /** Brings it to life, once. Refused when it was removed. */
  provision(call: SubscriptionProvision): Result<null> | Promise<Result<null>> {
    const { memory, store, wakes } = this.parts;
    const row = store.subscription();
    if (row?.deleted) return memory.gone();
    if (!row) {
      store.transaction(() => store.create(call));
      memory.load();
    }
    return wakes.wake();
  }

  /** Takes settings that are newer than its own. */
  configure(call: ConfigureCall): Result<null> | Promise<Result<null>> {
    const { memory, runtime, sockets, wakes } = this.parts;
    const state = memory.loaded;
    if (!state) return memory.gone();
    // At its own version the catalog's word stands against a pause that the object made by itself.
    const { version, settings, partitions } = state.row;
    const isShared = (call.partitions ?? partitions) === partitions;
    const isSame = call.version === version && call.settings.paused === settings.paused && isShared;
    if (call.version < version || isSame) return ok(null);
    memory.configure(state, call);
    // Of another endpoint nothing is known.
    const isElsewhere =
      call.settings.push?.url !== settings.push?.url ||
      call.settings.forward?.generation !== settings.forward?.generation;
    if (isElsewhere) state.endpoint.forgive(runtime().now());
    sockets.dismiss(state);
    return wakes.wake();
  }

  /** Leaves a tombstone, also where nothing was: a creation that comes late finds it. */
  remove(): Result<null> {
    const { memory, sockets, store } = this.parts;
    const isBuried = store.subscription()?.deleted ?? false;
    if (!isBuried) store.transaction(() => store.bury());
    memory.forget();
    sockets.dismiss(undefined);
    return ok(null);
  }
}
