// The judge of a run of chaos: it reads what everybody wrote down, and says where the delivery contract was broken.
// It is pure, and knows nothing of the broker.

import { type ChaosEvent, type Counted, type Effect, eventsOf, type Stored } from "./chaos-event.ts";

export type Audience = Readonly<{
  subscription: string;
  /** Pushed under effectively-once: nothing is sent twice but for a kill. */
  effectivelyOnce?: boolean;
}>;

export type Rule =
  | "moved"
  | "not rising"
  | "lost"
  | "never published"
  | "damaged"
  | "out of order"
  | "two effects"
  | "acked and handed out"
  | "sent again without a kill"
  | "not conserved";

export type Violation = Readonly<{ rule: Rule; detail: string }>;

/**
 * A request that was under way when the broker died may still be read by its receiver: a busy machine takes its
 * time. In microseconds.
 */
const UNDER_WAY_US = 2_000_000;

/** Everything in `history` that breaks a promise to one of the `audiences`. Events are in the order of their time. */
export function findViolations(
  history: readonly ChaosEvent[],
  audiences: readonly Audience[],
): readonly Violation[] {
  const stored = new Map(eventsOf(history, "stored").map((event) => [event.id, event]));
  return [
    ...moved(history),
    ...notRising(history),
    ...damaged(history),
    ...audiences.flatMap((audience) => {
      const own = history.filter((e) => !("subscription" in e) || e.subscription === audience.subscription);
      const name = `${audience.subscription}: `;
      return [
        ...lost(own, stored),
        ...neverPublished(own, stored),
        ...outOfOrder(own),
        ...twoEffects(own),
        ...ackedAndHandedOut(own),
        ...(audience.effectivelyOnce ? sentAgain(own) : []),
        ...notConserved(own, stored),
      ].map(({ rule, detail }) => ({ rule, detail: name + detail }));
    }),
  ];
}

/** Clause 2: an id is stored once, wherever its publishes were answered; and a place holds one message. */
function moved(history: readonly ChaosEvent[]): Violation[] {
  const placeOf = new Map<string, string>();
  const idAt = new Map<string, string>();
  return eventsOf(history, "stored").flatMap((event) => {
    const place = at(event);
    const before = placeOf.get(event.id) ?? place;
    const other = idAt.get(place) ?? event.id;
    placeOf.set(event.id, before);
    idAt.set(place, other);
    return [
      ...(before === place
        ? []
        : [violation("moved", `${event.id} was stored at ${before} and at ${place}`)]),
      ...(other === event.id ? [] : [violation("moved", `${place} holds ${other} and ${event.id}`)]),
    ];
  });
}

/** Clause 4: what a producer publishes later under one key has the higher offset, in the same partition. */
function notRising(history: readonly ChaosEvent[]): Violation[] {
  const firsts = eventsOf(history, "stored").filter(firstOf((event) => event.id));
  const lines = grouped(
    firsts.filter(({ key }) => key !== null),
    ({ producer, key }) => `${producer} ${key}`,
  );
  return lines.flatMap((line) =>
    pairs(line.toSorted((a, b) => a.n - b.n))
      .filter(([a, b]) => a.partition !== b.partition || a.offset >= b.offset)
      .map(([a, b]) =>
        violation("not rising", `${a.id} is at ${at(a)} and ${b.id}, sent later, at ${at(b)}`),
      ),
  );
}

/** Clause 1: a message arrives as it was sent. */
function damaged(history: readonly ChaosEvent[]): Violation[] {
  return eventsOf(history, "delivered")
    .filter(({ intact }) => !intact)
    .map(({ id, subscription }) => violation("damaged", `${subscription}: ${id} is not what was published`));
}

/** Clause 8: what was confirmed is processed, or kept as a dead letter. */
function lost(own: readonly ChaosEvent[], stored: ReadonlyMap<string, Stored>): Violation[] {
  const seen = new Set([...eventsOf(own, "effect"), ...eventsOf(own, "dead")].map(({ id }) => id));
  return [...stored.values()]
    .filter(({ id }) => !seen.has(id))
    .map((event) => violation("lost", `${event.id}, stored at ${at(event)}, was never processed`));
}

/** What is delivered was published, and has the place that its publisher was told. */
function neverPublished(own: readonly ChaosEvent[], stored: ReadonlyMap<string, Stored>): Violation[] {
  return [...eventsOf(own, "delivered"), ...eventsOf(own, "effect")].flatMap((event) => {
    const source = stored.get(event.id);
    if (source && at(source) === at(event)) return [];
    const where = source ? `is at ${at(source)}` : "was never confirmed";
    return [violation("never published", `${event.id} came from ${at(event)} and ${where}`)];
  });
}

/** Clause 12: the first effects of a key come in the order of their offsets, whoever does them. */
function outOfOrder(own: readonly ChaosEvent[]): Violation[] {
  const lanes = grouped(
    eventsOf(own, "effect")
      .filter(({ key }) => key !== null)
      .filter(firstOf((event) => event.id)),
    ({ key }) => String(key),
  );
  return lanes.flatMap((lane) =>
    pairs(lane)
      .filter(([a, b]) => a.partition === b.partition && a.offset > b.offset)
      .map(([a, b]) => violation("out of order", `${b.id} at ${at(b)} was done after ${a.id} at ${at(a)}`)),
  );
}

/** Clauses 14 and 15: whoever asks the ledger, or remembers the id, does the work once. */
function twoEffects(own: readonly ChaosEvent[]): Violation[] {
  const isFirst = firstOf(({ id }: Effect) => id);
  return eventsOf(own, "effect")
    .filter((effect) => !isFirst(effect))
    .map(({ id }) => violation("two effects", `${id} was done more than once`));
}

/**
 * Clause 9: an ack that was answered `acked` is the end of it. A pull that was under way by then may have been
 * answered before and arrive late, so only those that were asked after count.
 */
function ackedAndHandedOut(own: readonly ChaosEvent[]): Violation[] {
  const ackedAt = new Map<string, number>();
  for (const { id, at: when } of eventsOf(own, "acked")) ackedAt.set(id, ackedAt.get(id) ?? when);
  return eventsOf(own, "delivered")
    .filter(({ id, askedAt }) => askedAt > (ackedAt.get(id) ?? Number.POSITIVE_INFINITY))
    .map(({ id, attempt }) =>
      violation("acked and handed out", `${id} was acked, and handed out again (attempt ${attempt})`),
    );
}

/** Clause 14: what the endpoint answered 2xx is complete, unless somebody was killed in between. */
function sentAgain(own: readonly ChaosEvent[]): Violation[] {
  const kills = eventsOf(own, "killed").map(({ at: when }) => when);
  const doneAt = new Map(eventsOf(own, "effect").map(({ id, at: when }) => [id, when]));
  return eventsOf(own, "delivered")
    .filter(({ id, at: when }) => {
      const done = doneAt.get(id) ?? when;
      return when > done && !kills.some((kill) => kill > done - UNDER_WAY_US && kill < when);
    })
    .map(({ id }) => violation("sent again without a kill", `${id} was answered 2xx and sent again`));
}

/** Clause 20: when all is quiet, the counters add up, and add up to what was published. */
function notConserved(own: readonly ChaosEvent[], stored: ReadonlyMap<string, Stored>): Violation[] {
  const counted = eventsOf(own, "counted");
  const sum = (term: "settled" | "dead") => counted.reduce((total, one) => total + one[term], 0);
  const accounted = sum("settled") + sum("dead");
  const letters = eventsOf(own, "dead").length;
  return [
    ...counted.flatMap(unbalanced),
    ...(accounted === stored.size
      ? []
      : [violation("not conserved", `${accounted} are settled or dead, of ${stored.size} that were stored`)]),
    ...(letters === sum("dead")
      ? []
      : [violation("not conserved", `${sum("dead")} count as dead, and ${letters} are listed`)]),
  ];
}

function unbalanced(c: Counted): Violation[] {
  const terms = c.settled + c.filtered + c.expired + c.dead + c.purged + c.moved + c.leased + c.waiting;
  const isBalanced =
    c.nextOffset - c.startOffset + c.readmitted === terms && c.head - c.nextOffset === c.unread;
  const isQuiet = c.leased + c.waiting + c.unread === 0;
  if (isBalanced && isQuiet) return [];
  const fault = isBalanced ? "is not quiet" : "does not add up";
  return [violation("not conserved", `partition ${c.partition} ${fault}: ${JSON.stringify(c)}`)];
}

function violation(rule: Rule, detail: string): Violation {
  return { rule, detail };
}

function at({ partition, offset }: Readonly<{ partition: number; offset: number }>): string {
  return `${partition}:${offset}`;
}

/** A filter that lets the first of each name through. */
function firstOf<T>(nameOf: (item: T) => string): (item: T) => boolean {
  const seen = new Set<string>();
  return (item) => seen.size < seen.add(nameOf(item)).size;
}

function grouped<T>(items: readonly T[], nameOf: (item: T) => string): T[][] {
  return [...Map.groupBy(items, nameOf).values()];
}

/** Each with the one that follows it. */
function pairs<T>(items: readonly T[]): [T, T][] {
  return items.slice(1).map((item, index) => [items[index] as T, item]);
}
