// What one seed's world looks like: its topic, its subscriptions, what is done in it beside the ordinary, and how harsh
// it is.

import { limits } from "../../src/limits";
import {
  defaultSubscriptionSettings,
  type Guarantee,
  type PushSettings,
  type SubscriptionSettings,
} from "../../src/settings";
import { Chance } from "./chance";
import { type ForwardPlan, forwardPlanOf, NO_FORWARDS } from "./forward-plan";

export type PlannedSubscription = Readonly<{
  name: string;
  settings: SubscriptionSettings;
  /** The topic that it reads; the one that is published to when it is not said. */
  topic?: string;
  /** The topic that it forwards to. */
  to?: string;
}>;

/** What only some worlds have. More at once would drown each other. */
const FEATURES = {
  delays: 0.3,
  ttl: 0.25,
  retention: 0.3,
  handOver: 0.35,
  relays: 0.3,
  raise: 0.3,
  moves: 0.35,
  rebirth: 0.4,
  settings: 0.25,
  filters: 0.3,
} as const;
/** Drawn by a chance of their own: a seed whose world has none of them lives as it did before they were there. */
const LATER = { forwards: 0.3, priorities: 0.2, alternates: 0.15, lanes: 0.1 } as const;
/** Drawn by yet another, later still: what partitions share. */
const PACED = 0.2;
export type Feature = keyof typeof FEATURES | keyof typeof LATER | "paced";

export const MOST_PRIORITIES: readonly number[] = [0, 5, 9];
/** The topic that is published to. */
export const TOPIC = "t";

export type Plan = Readonly<{
  features: ReadonlySet<Feature>;
  partitions: number;
  /** Those that the topic begins with; undefined when it has none. */
  priorities: readonly number[] | undefined;
  /** To how many partitions it may be raised. */
  mostPartitions: number;
  retentionMs: number;
  subscriptions: readonly PlannedSubscription[];
  /** Takes what no other subscription matched. */
  alternate: PlannedSubscription | undefined;
  /** What is forwarded, and whither. */
  forwards: ForwardPlan;
  keys: readonly (string | undefined)[];
  subjects: readonly (string | undefined)[];
  /** Relays that number what they publish. */
  relays: number;
  /** Whether the topic itself is deleted and created again, or only its subscriptions. */
  replacesTopic: boolean;
  /** Whether the sweep goes on at the end, where something may be half done that it alone repairs. */
  isSwept: boolean;
  /** Steps that clients and operators make before the faults stop. */
  clientSteps: number;
  /** The share of steps that are dangers. */
  danger: number;
  /** How likely an object crashes while a write of it is on its way to the disk. */
  crashiness: number;
}>;

const LATER_SEED = 0x5eed0001;
const PACED_SEED = 0x5eed0002;
export const ACK_DEADLINE_MS = 10_000;
export const MOST_ACK_DEADLINE_MS = 20_000;
export const TIMEOUT_MS = 4_000;

/** Draws a plan by `seed`; with `only`, its features are those. */
export function planOf(chance: Chance, seed: number, only?: readonly Feature[]): Plan {
  const later = new Chance(seed ^ LATER_SEED);
  const paces = new Chance(seed ^ PACED_SEED);
  const drawn = withPaces(paces, withLater(later, featuresOf(chance)));
  const features = only ? new Set(only) : drawn;
  const has = (feature: Feature) => features.has(feature);
  const few = has("raise") ? chance.pick([1, 1, 2]) : chance.pick([1, 1, 1, 2]);
  const partitions = has("paced") && !has("raise") ? paces.pick([2, 4]) : few;
  return {
    features,
    partitions,
    priorities: has("priorities") ? later.pick([[0, 9], [0, 5, 9], [0]]) : undefined,
    mostPartitions: 4,
    retentionMs: has("retention")
      ? chance.pick([limits.minRetentionMs, 2 * limits.minRetentionMs])
      : limits.defaultRetentionMs,
    subscriptions: readersOf(chance, features)
      .map((planned) =>
        has("filters") ? { ...planned, settings: otherFilter(chance, planned.settings) } : planned,
      )
      .slice(0, has("forwards") ? 1 : undefined)
      .map((planned) => (has("alternates") ? narrowed(later, planned) : planned))
      .map((planned) =>
        has("paced") ? { ...planned, settings: otherPace(paces, planned.settings) } : planned,
      ),
    forwards: has("forwards")
      ? forwardPlanOf(later, {
          ...{ source: TOPIC, ends: has("rebirth"), changes: has("settings"), filters: has("filters") },
        })
      : NO_FORWARDS,
    alternate: has("alternates") ? alternateOf(later, has("forwards")) : undefined,
    keys: keysOf(chance, features),
    subjects: has("filters") ? [undefined, "x", "x", "y"] : [undefined],
    relays: has("relays") ? chance.between(1, 2) : 0,
    replacesTopic: has("rebirth") && !has("raise") && !has("relays") && chance.happens(0.8),
    isSwept: has("rebirth") || has("raise") || has("settings") || has("filters") || has("paced"),
    clientSteps: chance.between(60, 120),
    danger: chance.pick([0.05, 0.15, 0.3]),
    crashiness: chance.pick([0, 0.01, 0.05]),
  };
}

function featuresOf(chance: Chance): ReadonlySet<Feature> {
  const all = Object.keys(FEATURES) as (keyof typeof FEATURES)[];
  const drawn: Feature[] = all.filter((feature) => chance.happens(FEATURES[feature]));
  while (drawn.length > 3) drawn.splice(chance.below(drawn.length), 1);
  return new Set(drawn);
}

/** More of a world's features, in the place of some that were drawn. */
function withLater(chance: Chance, drawn: ReadonlySet<Feature>): ReadonlySet<Feature> {
  const more = (Object.keys(LATER) as (keyof typeof LATER)[]).filter((each) => chance.happens(LATER[each]));
  if (more.length === 0) return drawn;
  // A topic with priorities keeps its partitions.
  const not = more.includes("priorities") ? ["handOver", "raise"] : ["handOver"];
  const held = [...drawn].filter((feature) => !not.includes(feature));
  while (held.length > 2) held.splice(chance.below(held.length), 1);
  return new Set([...held, ...more, ...(more.includes("alternates") ? (["filters"] as const) : [])]);
}

/** In the place of some as well; not beside forwards and alternates, whose worlds are of few subscriptions. */
function withPaces(chance: Chance, drawn: ReadonlySet<Feature>): ReadonlySet<Feature> {
  if (!chance.happens(PACED) || drawn.has("forwards") || drawn.has("alternates")) return drawn;
  return new Set([...[...drawn].slice(0, 2), "paced"]);
}

/** With lanes, one that is pulled from is among them, and everything has a key: leases hold runs of few lanes. */
function readersOf(chance: Chance, features: ReadonlySet<Feature>): readonly PlannedSubscription[] {
  const drawn = subscriptionsOf(chance, features);
  const isPulled = drawn.some(({ settings }) => settings.type === "pull");
  if (features.has("lanes") && !isPulled) return [pull(chance), ...drawn];
  // What is settled before it is sent shares nothing.
  const isShared = drawn.some(({ settings }) => settings.push && settings.guarantee !== "at-most-once");
  return features.has("paced") && !isShared ? [...drawn, push(chance, "at-least-once")] : drawn;
}

function keysOf(chance: Chance, features: ReadonlySet<Feature>): readonly (string | undefined)[] {
  const drawn = chance.pick([
    [undefined, undefined, "a", "b", "c"],
    ["a", "b"],
    features.has("raise") ? ["a"] : [undefined],
  ]);
  return features.has("lanes") ? ["a", "b"] : drawn;
}

function subscriptionsOf(chance: Chance, features: ReadonlySet<Feature>): readonly PlannedSubscription[] {
  if (features.has("handOver"))
    return chance.pick([
      [push(chance, "effectively-once")],
      [pull(chance), push(chance, "effectively-once")],
    ]);
  return chance.pick([
    [pull(chance), push(chance, "at-least-once"), push(chance, "effectively-once")],
    [pull(chance), push(chance, "effectively-once")],
    [pull(chance)],
    [push(chance, "at-least-once")],
    [push(chance, "effectively-once")],
    [pull(chance, "at-most-once"), push(chance, "at-most-once")],
  ]);
}

/** What can be set, drawn anew. */
export function common(chance: Chance): SubscriptionSettings {
  return {
    ...defaultSubscriptionSettings,
    ackDeadlineMs: ACK_DEADLINE_MS,
    maxInFlight: chance.pick([5, 40]),
    retry: { maxAttempts: chance.pick([2, 3, 5]), minDelayMs: 100, maxDelayMs: 5_000 },
    onExhausted: chance.weighted({ park: 6, skip: 2, block: 1 }),
  };
}

export function pull(
  chance: Chance,
  guarantee: Guarantee = "at-least-once",
  name = "pull",
): PlannedSubscription {
  return { name, settings: { ...common(chance), guarantee } };
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

/** The same, but that it leaves something out, for an alternate to take. */
function narrowed(chance: Chance, { settings, ...planned }: PlannedSubscription): PlannedSubscription {
  return { ...planned, settings: { ...settings, filter: { subject: chance.pick([["x"], ["x"], ["y"]]) } } };
}

/** Pulled from, or where there are forwards one of them. */
function alternateOf(chance: Chance, mayForward: boolean): PlannedSubscription {
  const { settings } = pull(chance, "at-least-once");
  const subject = chance.pick([undefined, undefined, ["y"]]);
  const filter = { unmatched: true as const, ...(subject && { subject }) };
  const taking = { ...settings, maxInFlight: 5, filter };
  if (!mayForward || chance.happens(0.4)) return { name: "rest", settings: taking };
  return { name: "rest", to: "u", settings: { ...taking, type: "forward", guarantee: "effectively-once" } };
}

/** The same with another filter, or with none. */
export function otherFilter(chance: Chance, held: SubscriptionSettings): SubscriptionSettings {
  const { filter: _, ...rest } = held;
  const subject = chance.pick([undefined, ["x"], ["x"], ["y"], ["x", "y"]]);
  return subject ? { ...rest, filter: { subject } } : rest;
}

/** The same with other bounds of what its endpoint is sent; what is not pushed has none. */
export function otherPace(chance: Chance, held: SubscriptionSettings): SubscriptionSettings {
  if (!held.push) return held;
  const { rate: _, maxConcurrency: __, drainPerSecond: ___, ...push } = held.push;
  const rate = chance.pick([
    undefined,
    SLOWEST,
    { requests: 1, perMs: 1_000 },
    { requests: 3, perMs: 1_000 },
  ]);
  const maxConcurrency = chance.pick([undefined, 1, 2, 3]);
  const drainPerSecond = chance.pick([undefined, undefined, 2]);
  const bounds = { rate, maxConcurrency, drainPerSecond };
  const set = Object.fromEntries(Object.entries(bounds).filter(([, value]) => value !== undefined));
  return { ...held, push: { ...push, ...set } };
}

/** A world has some hundreds of requests to make, and minutes to come to rest. */
const SLOWEST = { requests: 1, perMs: 2_000 };

const GUARANTEES: Readonly<Record<SubscriptionSettings["type"], readonly Guarantee[]>> = {
  push: ["at-least-once", "effectively-once", "at-most-once"],
  pull: ["at-least-once", "at-most-once"],
  forward: ["at-least-once", "effectively-once"],
};

/** Other settings for a subscription, of those that its type allows. */
export function otherSettings(chance: Chance, held: SubscriptionSettings): SubscriptionSettings {
  const guarantees = GUARANTEES[held.type];
  const guarantee = chance.happens(0.3) ? chance.pick(guarantees) : held.guarantee;
  const { retry, onExhausted, ...other } = common(chance);
  // How much a forward carries at once decides how large the rows of its target are.
  const { maxInFlight } = held.type === "forward" ? held : other;
  return {
    ...held,
    ...{ guarantee, onExhausted, maxInFlight, maxRedrives: chance.pick([1, 20]) },
    retry: guarantee === "at-most-once" ? { ...retry, maxAttempts: 1 } : retry,
    ackDeadlineMs: chance.pick([5_000, ACK_DEADLINE_MS, MOST_ACK_DEADLINE_MS]),
  };
}
