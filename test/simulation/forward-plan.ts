// What a world has that forwards: the topics it leads to, the ways among them, and who reads there. Drawn by a chance of
// their own.

import { defaultSubscriptionSettings, type Guarantee, type SubscriptionSettings } from "../../src/settings";
import type { Chance } from "./chance";
import type { PlannedSubscription } from "./plan";

/** Another topic of the world than the one that is published to. */
export type PlannedTopic = Readonly<{ name: string; partitions: number; retentionBytes?: number }>;

export type ForwardPlan = Readonly<{
  targets: readonly PlannedTopic[];
  /** Forwards from topic to topic, and readers of the targets. */
  subscriptions: readonly PlannedSubscription[];
  /** Targets where a message whose id the broker made may be stored twice, for some way there does not know it by its id. */
  repeating: ReadonlySet<string>;
}>;

export type Drawn = Readonly<{
  source: string;
  /** Topics are deleted and created again. */
  ends: boolean;
  /** Settings change, guarantees among them. */
  changes: boolean;
  filters: boolean;
}>;

/** From which topic to which, by its letter. A way back makes a loop; two ways to one topic, a diamond. */
const SHAPES = {
  straight: ["tu"],
  chain: ["tu", "uv"],
  diamond: ["tu", "tv", "vu"],
  loop: ["tu", "uv", "vu"],
} as const;
/**
 * So little that a target is full as soon as its reader falls behind, and room for two of the largest rows that are forwarded
 * to it: one that is settled can always make way.
 */
const LITTLE_BYTES = 1_500;
const LITTLE_IN_FLIGHT = 5;
const DEADLINE_MS = 10_000;

export const NO_FORWARDS: ForwardPlan = { targets: [], subscriptions: [], repeating: new Set() };

export function forwardPlanOf(chance: Chance, { source, ends, changes, filters }: Drawn): ForwardPlan {
  const shape = chance.weighted({ straight: 4, chain: 2, diamond: 2, loop: ends ? 0 : 2 });
  const named = (letter: string) => (letter === "t" ? source : letter);
  const ways = SHAPES[shape].map((way) => {
    const [from, to] = [named(way.charAt(0)), named(way.charAt(1))];
    const guarantee: Guarantee = chance.pick(["at-least-once", "at-least-once", "effectively-once"]);
    const subject = filters ? chance.pick([undefined, ["x"], ["x", "y"]]) : undefined;
    const settings = {
      ...drawn(chance),
      type: "forward",
      guarantee,
      ...(subject && { filter: { subject } }),
    };
    return { name: `to-${to}`, topic: from, to, settings: settings as SubscriptionSettings };
  });
  const names = [...new Set(ways.map(({ to }) => to))];
  // Two full topics that forward to each other wait for each other, until the retention of one passes.
  const isLittle = chance.happens(0.4) && shape !== "loop";
  const targets = names.map((name) => ({
    ...{ name, partitions: chance.pick([1, 1, 2]) },
    ...(isLittle && { retentionBytes: LITTLE_BYTES }),
  }));
  const readers = names.map((topic) => ({ name: "reader", topic, settings: drawn(chance) }));
  const forgets = ways.filter(({ settings }) => changes || settings.guarantee === "at-least-once");
  const forwards = ways.map((way) =>
    isLittle ? { ...way, settings: { ...way.settings, maxInFlight: LITTLE_IN_FLIGHT } } : way,
  );
  return {
    targets,
    subscriptions: [...forwards, ...readers],
    repeating: new Set(forgets.map(({ to }) => to)),
  };
}

function drawn(chance: Chance): SubscriptionSettings {
  return {
    ...defaultSubscriptionSettings,
    ackDeadlineMs: DEADLINE_MS,
    maxInFlight: chance.pick([5, 40]),
    retry: { maxAttempts: chance.pick([2, 5]), minDelayMs: 100, maxDelayMs: 5_000 },
    onExhausted: chance.weighted({ park: 6, skip: 2, block: 1 }),
  };
}
