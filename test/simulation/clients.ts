// What publishers, consumers and operators share: they call over the network, believe only what they are answered, and
// hear of faults.

import type { SubscriptionCalls } from "../../src/subscription-calls";
import type { Owner } from "./agenda";
import type { Watched } from "./lives";
import { type Remote, stubOf } from "./network";
import type { SimulatedObject } from "./object-host";
import type { World } from "./world";

export type Asked = Readonly<{
  /** Looks at the answer; what it throws is a broken promise. */
  answered?: (answer: unknown) => void;
  failed?: () => void;
  /** On whose behalf; one that dies hears nothing. */
  from?: Owner;
}>;

export class Clients {
  private serial = 0;

  constructor(readonly world: World) {}

  get chance() {
    return this.world.chance;
  }

  /** Another name, never used before. */
  fresh(prefix: string): string {
    this.serial += 1;
    return `${prefix}-${this.serial}`;
  }

  call(remote: Remote, method: string, args: readonly unknown[], asked: Asked = {}): void {
    const { answered = () => undefined, failed = () => undefined, from = this.world.clients } = asked;
    this.world.platform.network.call(from, remote, method, args).then(
      (answer) => this.world.guard(() => answered(answer)),
      () => this.world.guard(failed),
    );
  }

  /** Calls an invocation of the Worker that does `work`. */
  ask(name: string, work: (owner: Owner) => Promise<unknown>, asked: Asked = {}): void {
    this.call(this.world.platform.workers.remote(name, work), name, [], asked);
  }

  subscription({ object }: Watched): SubscriptionCalls {
    const { platform, clients } = this.world;
    return stubOf((method, args) => platform.network.call(clients, object.remote, method, args));
  }

  /** Pokes an object, as the sweep does. */
  poke(object: SimulatedObject): void {
    this.call(object.remote, "wake", []);
  }

  /** A partition of a subscription; now and then one that was removed. */
  some(type?: "pull" | "push"): Watched | undefined {
    const { living, watch } = this.world;
    const all = this.chance.happens(0.03) ? watch.watched : living;
    const those = type === undefined ? all : all.filter(({ picture }) => picture?.settings.type === type);
    return those[this.chance.below(Math.max(1, those.length))];
  }
}

export function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
