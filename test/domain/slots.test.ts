// Requests under way at once that several dispatches share: never more than there may be, and nobody starves.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { freeSlots, noSlots, type SlotAsking, type Slots, takeSlots } from "../../src/capacity/slots";
import { limits } from "../../src/limits";

const START = 1_800_000_000_000;
const LASTS_MS = 10_000;

/** Dispatches that share slots, and begin as many requests as they may. */
class Scene {
  now = START;
  private slots: Slots = noSlots;
  private readonly held = new Map<string, { given: number; until: number }>();
  readonly underWay = new Map<string, number>();
  most = 0;
  private asks = 0;

  constructor(readonly max: number) {}

  get all(): number {
    return [...this.underWay.values()].reduce((sum, count) => sum + count, 0);
  }

  /** `hasty`: until the answer comes, it begins what it may by the one before. */
  ask(dispatch: string, { hasty = false, ...asked }: Partial<SlotAsking> & { hasty?: boolean } = {}) {
    const held = this.held.get(dispatch);
    const asking = {
      ...{ dispatch, nth: ++this.asks, priority: 0, max: this.max, want: 6, lastsMs: LASTS_MS },
      underWay: this.underWay.get(dispatch) ?? 0,
      held: held && held.until > this.now ? held.given : 0,
      ...asked,
    };
    const { slots, share } = takeSlots(this.slots, asking, this.now);
    this.slots = slots;
    if (hasty) this.begin(dispatch);
    this.held.set(dispatch, { given: share.slots, until: this.now + share.endsInMs });
    return share;
  }

  /** What it asked before arrives now, and nobody hears the answer. */
  late(dispatch: string, asked: Pick<SlotAsking, "nth" | "underWay" | "held"> & Partial<SlotAsking>) {
    const common = { dispatch, priority: 0, max: this.max, want: 1, lastsMs: LASTS_MS };
    const { slots, share } = takeSlots(this.slots, { ...common, ...asked }, this.now);
    this.slots = slots;
    return share;
  }

  /** Begins requests up to what it was given, for as long as that is good. */
  begin(dispatch: string): void {
    const held = this.held.get(dispatch);
    if (held && held.until > this.now) {
      this.underWay.set(dispatch, Math.max(held.given, this.underWay.get(dispatch) ?? 0));
    }
    this.most = Math.max(this.most, this.all);
  }

  end(dispatch: string, count: number): void {
    this.underWay.set(dispatch, Math.max(0, (this.underWay.get(dispatch) ?? 0) - count));
  }

  over(dispatch: string): void {
    this.underWay.delete(dispatch);
    this.held.delete(dispatch);
    this.slots = freeSlots(this.slots, dispatch);
  }

  /** Passes the moment that a life begins with. */
  warm(): void {
    this.ask("first", { want: 0 });
    this.over("first");
    this.now += limits.slotsMs;
  }

  restart(): void {
    this.slots = noSlots;
  }
}

const warmed = (max: number) => {
  const scene = new Scene(max);
  scene.warm();
  return scene;
};

describe("slots", () => {
  it("are one dispatch's while no other wants them", () => {
    const scene = warmed(10);
    expect(scene.ask("a")).toEqual({ slots: 6, endsInMs: limits.slotsMs, againInMs: limits.slotsAgainMs });
    expect(scene.ask("b")).toEqual({ slots: 4, endsInMs: limits.slotsMs, againInMs: limits.slotsSoonMs });
  });

  it("count while more is under way than is given any more", () => {
    const scene = warmed(4);
    scene.ask("low", { want: 4 });
    scene.begin("low");
    expect(scene.ask("high", { priority: 9, want: 4 }).slots).toBe(0);
    expect(scene.ask("low", { want: 4 }).slots).toBe(0);
    expect(scene.ask("high", { priority: 9, want: 4 }).slots).toBe(0);
    scene.end("low", 3);
    expect(scene.ask("low", { want: 4 }).slots).toBe(0);
    expect(scene.ask("high", { priority: 9, want: 4 }).slots).toBe(3);
  });

  it("are free when their dispatch says that it has ended", () => {
    const scene = warmed(4);
    scene.ask("a");
    scene.begin("a");
    scene.over("a");
    expect(scene.ask("b").slots).toBe(4);
  });

  it("count as the newest ask says, though an older one arrives behind it", () => {
    const scene = warmed(1);
    scene.ask("a", { nth: 2 });
    scene.begin("a");
    scene.late("a", { nth: 1, underWay: 0, held: 0, want: 0 });
    scene.late("a", { nth: 2, underWay: 0, held: 0, want: 0 });
    expect(scene.ask("b").slots).toBe(0);
  });

  it("are not held by an ask that arrives behind the word that its dispatch has ended", () => {
    const scene = warmed(1);
    scene.ask("a", { nth: 1 });
    scene.over("a");
    expect(scene.late("a", { nth: 2, underWay: 1, held: 1 }).slots).toBe(0);
    expect(scene.ask("b").slots).toBe(1);
  });

  it("of a dispatch that falls silent count for as long as its requests may last", () => {
    const scene = warmed(4);
    scene.ask("a");
    scene.now += limits.slotsMs + LASTS_MS - 1;
    expect(scene.ask("b").slots).toBe(0);
    scene.now += 1;
    expect(scene.ask("b").slots).toBe(4);
  });

  it("are not given to others before what a life before gave was told or has ended", () => {
    const scene = warmed(4);
    scene.ask("a", { want: 3 });
    scene.begin("a");
    scene.restart();
    expect(scene.ask("b").slots).toBe(0);
    // What it holds is its own still, and an equal part of it is given anew.
    expect(scene.ask("a", { want: 3 }).slots).toBe(2);
    scene.now += limits.slotsMs - 1;
    expect(scene.ask("b").slots).toBe(0);
    scene.now += 1;
    expect(scene.ask("b").slots).toBe(1);
    scene.end("a", 1);
    scene.ask("a", { want: 3 });
    expect(scene.ask("b").slots).toBe(2);
  });

  it("are the fewest that anybody says", () => {
    const scene = warmed(10);
    scene.ask("a", { max: 3, want: 1 });
    expect(scene.ask("b").slots).toBe(2);
  });

  it("go to each in turn when there are fewer than dispatches", () => {
    const scene = warmed(1);
    const turns = new Map<string, number>();
    for (let step = 0; step < 60; step++) {
      for (const dispatch of ["a", "b", "c"]) {
        const { slots } = scene.ask(dispatch, { want: 1 });
        if (slots > 0) turns.set(dispatch, (turns.get(dispatch) ?? 0) + 1);
      }
      scene.now += limits.slotsAgainMs;
    }
    expect(turns.size).toBe(3);
    for (const count of turns.values()) expect(count).toBeGreaterThanOrEqual(12);
  });

  it.each([1, 4, 30])(
    "of %i one of ten is the lowest priority's, and none between it and the highest",
    (max) => {
      const scene = warmed(max);
      const held = { low: 0, mid: 0, high: 0 };
      const priorities = { low: 0, mid: 5, high: 9 };
      const steps = 2_000;
      for (let step = 0; step < steps; step++) {
        for (const name of ["low", "mid", "high"] as const) {
          scene.ask(name, { priority: priorities[name], want: max });
          scene.begin(name);
          held[name] += scene.underWay.get(name) ?? 0;
        }
        // Each request lasts for one step.
        for (const name of ["low", "mid", "high"]) scene.end(name, max);
        scene.now += 100;
      }
      const all = max * steps;
      expect(held.low / all).toBeGreaterThan(0.07);
      expect(held.low / all).toBeLessThan(0.13);
      expect(held.mid / all).toBeLessThan(0.02);
      expect(held.high / all).toBeGreaterThan(0.8);
      expect(scene.most).toBeLessThanOrEqual(max);
    },
  );

  it("are never more than there may be, whoever asks, ends or falls silent, and whenever", () => {
    const step = fc.record({
      afterMs: fc.oneof(fc.nat(100), fc.nat(1_500)),
      by: fc.nat(7),
      want: fc.nat(6),
      hasty: fc.boolean(),
      does: fc.constantFrom("ask", "ask", "ask", "begin", "begin", "end", "over"),
    });
    const property = fc.property(
      fc.integer({ min: 1, max: 20 }),
      fc.array(step, { maxLength: 200 }),
      (max, steps) => {
        const scene = warmed(max);
        let askedAt = scene.now;
        const ended = Array.from({ length: 8 }, () => 0);
        for (const { afterMs, by, want, does, hasty } of steps) {
          scene.now += afterMs;
          const dispatch = `d${by}/${ended[by]}`;
          if (does === "ask") {
            askedAt = scene.now;
            scene.ask(dispatch, { priority: by % 3, want, lastsMs: 1e9, hasty });
          } else if (does === "begin") scene.begin(dispatch);
          else if (does === "end") scene.end(dispatch, want);
          else {
            scene.over(dispatch);
            ended[by] = (ended[by] ?? 0) + 1;
          }
        }
        expect(scene.most).toBeLessThanOrEqual(max);
        // Once all have ended, whoever wants some has all of them.
        for (let by = 0; by < 8; by++) scene.over(`d${by}/${ended[by]}`);
        scene.now = askedAt + 1e10;
        expect(scene.ask("last", { want: max }).slots).toBe(max);
      },
    );
    fc.assert(property, { numRuns: 1_000 });
  });
});
