// A pace that several partitions share: never more than the pace, all of it when somebody wants it, and nobody starves.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Asking, noRounds, type PaceRounds, takeShare } from "../../src/capacity/pace-rounds";
import { limits } from "../../src/limits";

const START = 1_800_000_000_000;
const MANY = 400;

/** Partitions that share a pace, and what each was given. */
class Scene {
  now = START;
  private rounds: PaceRounds = noRounds;
  private readonly sending = new Map<number, { perSecond: number; until: number }>();
  readonly given = new Map<number, number>();
  fastest = 0;

  constructor(readonly perSecond: number) {}

  get all(): number {
    return [...this.given.values()].reduce((sum, count) => sum + count, 0);
  }

  ask(by: number, asked: Partial<Asking> = {}) {
    const asking = { by, priority: 0, perSecond: this.perSecond, want: MANY, wantLater: MANY, ...asked };
    const { rounds, share } = takeShare(this.rounds, asking, this.now);
    this.rounds = rounds;
    this.given.set(by, (this.given.get(by) ?? 0) + share.requests);
    this.sending.delete(by);
    if (share.requests > 0) {
      const sendsMs = (share.requests * 1000) / share.perSecond;
      const until = this.now + Math.min(sendsMs, share.againInMs);
      this.sending.set(by, { perSecond: share.perSecond, until });
    }
    const live = [...this.sending.values()].filter(({ until }) => until > this.now);
    this.fastest = Math.max(
      this.fastest,
      live.reduce((sum, each) => sum + each.perSecond, 0),
    );
    return share;
  }

  /** Passes the round that a restart begins with, and one that nobody asked in before. */
  warm(...asked: readonly (readonly [number, Partial<Asking>?])[]): void {
    for (let i = 0; i < 2; i++) {
      for (const each of asked) this.ask(...each);
      this.now += this.roundMs;
    }
    this.given.clear();
  }

  get roundMs(): number {
    const requests = Math.max(1, Math.ceil((this.perSecond * limits.shareRoundMs) / 1000));
    return (requests * 1000) / this.perSecond;
  }

  shareOf(by: number): number {
    return this.given.get(by) ?? 0;
  }
}

describe("a shared pace", () => {
  it("is one partition's alone while no other wants it", () => {
    const scene = new Scene(10);
    scene.warm([0]);
    expect(scene.ask(0)).toMatchObject({ requests: 20, perSecond: 10, endsInMs: 2_000 });
    scene.now += 2_000;
    expect(scene.ask(0)).toMatchObject({ requests: 20, perSecond: 10 });
  });

  it("is divided equally among those who want it", () => {
    const scene = new Scene(10);
    scene.warm([0], [1]);
    expect(scene.ask(0)).toMatchObject({ requests: 10, perSecond: 5 });
    scene.now += 30;
    expect(scene.ask(1)).toMatchObject({ requests: 10, perSecond: 5, againInMs: 1_970 });
  });

  it("goes to the highest priority, but for a tenth to the lowest that waits", () => {
    const scene = new Scene(10);
    scene.warm([0, { priority: 0 }], [1, { priority: 5 }], [2, { priority: 9 }]);
    for (let round = 0; round < 10; round++) {
      scene.ask(0, { priority: 0 });
      scene.ask(1, { priority: 5 });
      scene.ask(2, { priority: 9 });
      scene.now += scene.roundMs;
    }
    expect([0, 1, 2].map((by) => scene.shareOf(by))).toEqual([20, 0, 180]);
  });

  it("gives the lowest one request of ten, also where a round has but one", () => {
    const scene = new Scene(0.01);
    scene.warm([0, { priority: 0 }], [1, { priority: 9 }]);
    for (let round = 0; round < 40; round++) {
      scene.ask(0, { priority: 0 });
      scene.ask(1, { priority: 9 });
      scene.now += scene.roundMs;
    }
    expect([0, 1].map((by) => scene.shareOf(by))).toEqual([4, 36]);
  });

  it("is whole again for the others a round after one has stopped", () => {
    const scene = new Scene(10);
    scene.warm([0], [1]);
    scene.ask(0);
    scene.ask(1);
    scene.now += 2_000;
    scene.ask(0);
    scene.now += 2_000;
    expect(scene.ask(0)).toMatchObject({ requests: 20, perSecond: 10 });
  });

  it("is not kept for one that has had all it wants", () => {
    const scene = new Scene(10);
    scene.warm([0], [1]);
    scene.ask(0);
    expect(scene.ask(1, { want: 3, wantLater: 0 }).requests).toBe(3);
    scene.now += 2_000;
    expect(scene.ask(0)).toMatchObject({ requests: 20 });
  });

  it("is taken in the middle of a round by whoever comes, as far as it is free", () => {
    const scene = new Scene(10);
    scene.warm([0]);
    expect(scene.ask(0, { want: 5, wantLater: 0 })).toMatchObject({ requests: 5, perSecond: 10 });
    scene.now += 200;
    expect(scene.ask(1)).toMatchObject({ requests: 0, againInMs: 300 });
    scene.now += 300;
    expect(scene.ask(1)).toMatchObject({ requests: 11, perSecond: 10, againInMs: 1_500 });
  });

  it("that was not called for in time is anybody's", () => {
    const scene = new Scene(10);
    scene.warm([0], [1]);
    expect(scene.ask(0, { want: 3, wantLater: 0 })).toMatchObject({ requests: 3 });
    scene.now += limits.shareShowUpMs;
    expect(scene.ask(2)).toMatchObject({ requests: 12, perSecond: 8.5 });
  });

  it("begins a life with one request for each: what was given before may be under way", () => {
    const scene = new Scene(10);
    expect(scene.ask(0).requests).toBe(1);
    expect(scene.ask(0).requests).toBe(0);
    scene.now += 100;
    expect(scene.ask(1).requests).toBe(1);
    scene.now = START + 2_000;
    expect(scene.ask(0).requests).toBe(10);
  });

  it("that is slower than a round gives one request at a time", () => {
    const scene = new Scene(1 / 60);
    expect(scene.ask(0)).toMatchObject({ requests: 1, endsInMs: 60_000 });
    scene.now += 30_000;
    expect(scene.ask(1)).toMatchObject({ requests: 0, againInMs: 30_000 });
    scene.now += 30_000;
    expect(scene.ask(1).requests).toBe(1);
    expect(scene.ask(0).requests).toBe(0);
  });

  it("is the lowest that anybody says, from the next round on", () => {
    const scene = new Scene(10);
    scene.warm([0], [1]);
    scene.ask(0);
    scene.ask(1, { perSecond: 2 });
    scene.now += 2_000;
    expect(scene.ask(0)).toMatchObject({ requests: 2 });
  });
});

describe("whoever asks, and whenever", () => {
  const step = fc.record({
    afterMs: fc.oneof(fc.integer({ min: 0, max: 50 }), fc.integer({ min: 0, max: 3_000 })),
    by: fc.nat(7),
    want: fc.oneof(fc.integer({ min: 1, max: 5 }), fc.constant(MANY)),
    later: fc.option(fc.nat(MANY), { nil: undefined }),
  });
  const paces = fc.constantFrom(0.01, 0.3, 1, 3.7, 10, 64, 1_000);

  it("no more is sent at any time than the pace, and no more is given than it makes", () => {
    const property = fc.property(paces, fc.array(step, { minLength: 1, maxLength: 150 }), (pace, steps) => {
      const scene = new Scene(pace);
      for (const { afterMs, by, want, later } of steps) {
        scene.now += afterMs;
        scene.ask(by, { priority: by % 3, want, ...(later !== undefined && { wantLater: later }) });
        const made = (pace * (scene.now - START + scene.roundMs)) / 1000;
        expect(scene.all).toBeLessThanOrEqual(Math.floor(made + 1));
      }
      expect(scene.fastest).toBeLessThanOrEqual(pace * (1 + 1e-9) + 1e-9);
    });
    fc.assert(property, { numRuns: 1_000 });
  });

  it("all of it is given while somebody wants it, and to each level what is its own", () => {
    const waits = fc.array(fc.integer({ min: 0, max: 40 }), { minLength: 8, maxLength: 8 });
    const of = fc.array(fc.constantFrom(...[0, 5, 9]), { minLength: 1, maxLength: 8 });
    const property = fc.property(
      fc.constantFrom(0.5, 1, 3.7, 10, 64),
      of,
      waits,
      (pace, priorities, lateMs) => {
        const scene = new Scene(pace);
        const due = priorities.map(() => START);
        const until = START + 60 * scene.roundMs;
        for (;;) {
          const by = due.indexOf(Math.min(...due));
          scene.now = Math.max(scene.now, due[by] ?? 0);
          if (scene.now >= until) break;
          const { againInMs } = scene.ask(by, { priority: priorities[by] ?? 0 });
          due[by] = scene.now + Math.ceil(againInMs) + (lateMs[by] ?? 0);
        }
        const made = (pace * (until - START)) / 1000;
        expect(scene.all).toBeGreaterThanOrEqual(0.85 * made);
        const levels = [...new Set(priorities)].sort((a, b) => a - b);
        const got = levels.map((level) =>
          priorities.reduce((sum, priority, by) => sum + (priority === level ? scene.shareOf(by) : 0), 0),
        );
        if (levels.length === 1) return;
        expect(got[0]).toBeGreaterThanOrEqual(0.08 * made - 1);
        expect(got.at(-1)).toBeGreaterThanOrEqual(0.75 * made);
      },
    );
    fc.assert(property, { numRuns: 300 });
  });
});
