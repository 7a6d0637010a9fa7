// What one seed's world looks like: its topic, its subscriptions, and how harsh it is.

import {
  defaultSubscriptionSettings,
  type Guarantee,
  type PushSettings,
  type SubscriptionSettings,
} from "../../src/settings";
import type { Chance } from "./chance";

export type PlannedSubscription = Readonly<{ name: string; settings: SubscriptionSettings }>;

export type Plan = Readonly<{
  partitions: number;
  subscriptions: readonly PlannedSubscription[];
  keys: readonly (string | undefined)[];
  /** Steps that clients and operators make before the faults stop. */
  clientSteps: number;
  /** The share of steps that are dangers. */
  danger: number;
  /** How likely an object crashes while a write of it is on its way to the disk. */
  crashiness: number;
}>;

export const ACK_DEADLINE_MS = 10_000;
export const TIMEOUT_MS = 4_000;

export function planOf(chance: Chance): Plan {
  return {
    partitions: chance.pick([1, 1, 1, 2]),
    subscriptions: chance.pick([
      [pull(chance), push(chance, "at-least-once"), push(chance, "effectively-once")],
      [pull(chance), push(chance, "effectively-once")],
      [pull(chance)],
      [push(chance, "at-least-once")],
      [push(chance, "effectively-once")],
      [pull(chance, "at-most-once"), push(chance, "at-most-once")],
    ]),
    keys: chance.pick([[undefined, undefined, "a", "b", "c"], ["a", "b"], [undefined]]),
    clientSteps: chance.between(60, 120),
    danger: chance.pick([0.05, 0.15, 0.3]),
    crashiness: chance.pick([0, 0.01, 0.05]),
  };
}

function common(chance: Chance): SubscriptionSettings {
  return {
    ...defaultSubscriptionSettings,
    ackDeadlineMs: ACK_DEADLINE_MS,
    maxInFlight: chance.pick([5, 40]),
    retry: { maxAttempts: chance.pick([2, 3, 5]), minDelayMs: 100, maxDelayMs: 5_000 },
    onExhausted: chance.weighted({ park: 6, skip: 2, block: 1 }),
  };
}

function pull(chance: Chance, guarantee: Guarantee = "at-least-once"): PlannedSubscription {
  return { name: "pull", settings: { ...common(chance), guarantee } };
}

function push(chance: Chance, guarantee: Guarantee): PlannedSubscription {
  const batch = chance.pick([1, 1, 1, 5]);
  const endpoint: PushSettings = {
    url: "https://endpoint.example/hook",
    headers: {},
    timeoutMs: TIMEOUT_MS,
    batchMaxMessages: batch,
    batchMaxWaitMs: batch > 1 ? chance.pick([0, 500]) : 0,
    // Unsigned: signatures are proven elsewhere, and WebCrypto runs outside the virtual time.
    secrets: [],
  };
  return { name: guarantee, settings: { ...common(chance), guarantee, type: "push", push: endpoint } };
}
