// An endpoint's health under virtual time: requests are answered as the test or chance says, and what was sent when
// is looked at afterwards.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { NO_SIGNS, noteRequest, type RequestEnd } from "../../src/endpoint-signs";
import { limits } from "../../src/limits";
import { type Pace, paced, paceWaitMs } from "../../src/pace";
import { allowance } from "../../src/subscription/allowance";
import {
  forgiven,
  type Health,
  judge,
  newHealth,
  sparesAttempts,
} from "../../src/subscription/endpoint-health";

type Answer = Omit<RequestEnd, "offset">;
type Sent = Readonly<{ at: number; state: Health["state"]; offset: number }>;

const OK: Answer = { delivered: true, status: 204 };
const DOWN: Answer = { delivered: false, error: "no answer: connection refused" };
const REFUSES: Answer = { delivered: false, status: 422, error: "no such product" };
const T0 = 1_800_000_000_000;

/** A backlog without end and its endpoint: one dispatch after another, as the allowance says. */
class World {
  now = T0;
  health: Health = newHealth;
  readonly sent: Sent[] = [];
  private offset = 0;
  private nextSendAt = 0;

  constructor(
    private readonly answer: (now: number, offset: number) => Answer,
    private readonly options: { latencyMs?: number; jitter?: number; backlog?: number } = {},
  ) {}

  runUntil(end: number): this {
    while (this.now < end && this.isBehind) this.step(end);
    return this;
  }

  private get isBehind(): boolean {
    return this.offset < (this.options.backlog ?? Number.POSITIVE_INFINITY);
  }

  private step(end: number): void {
    const { health, now, nextSendAt } = this;
    const allowed = allowance({ health, push: {}, partitions: 1, nextSendAt, now });
    if (!allowed.send) {
      this.now = Math.min(end, Math.max(allowed.until, now + 1));
      return;
    }
    let signs = NO_SIGNS;
    let pace: Pace = allowed.sending.pace ?? { perSecond: 10_000, nextSendAt: now };
    const state = health.state;
    for (let n = 0; n < Math.min(allowed.requests, 100) && this.isBehind; n++) {
      this.now += paceWaitMs(pace, this.now);
      pace = paced(pace, this.now);
      const offset = this.offset++;
      this.sent.push({ at: this.now, state, offset });
      const answer = this.answer(this.now, offset);
      this.now += this.options.latencyMs ?? 1;
      signs = noteRequest(signs, { ...answer, offset }, this.now);
      if (signs.failing >= allowed.sending.stopAfter || signs.pausedUntil !== undefined) break;
    }
    this.nextSendAt = pace.nextSendAt;
    const judged = { signs, done: true, wasClean: signs.ailed === 0, isBehind: this.isBehind };
    this.health = judge(health, judged, { now: this.now, jitter: () => this.options.jitter ?? 0.5 });
  }
}

const during = (from: number, to: number) => (now: number) => (now >= from && now < to ? DOWN : OK);

describe("an endpoint that fails", () => {
  it("is left alone after ten requests in a row that it failed, and not before", () => {
    const world = new World(() => DOWN).runUntil(T0 + 1000);
    expect(world.sent).toHaveLength(limits.tripRequests);
    expect(world.health).toMatchObject({ state: "open", opens: 1, reason: DOWN.error });
  });

  it("is probed by one message at a time, longer and longer apart, up to the longest", () => {
    const world = new World(() => DOWN, { jitter: 0.999 }).runUntil(T0 + 3_600_000);
    const probes = world.sent.slice(limits.tripRequests).map(({ at }) => at);
    const apart = probes.slice(1).map((at, i) => at - (probes[i] ?? 0));
    expect(Math.max(...apart)).toBeLessThanOrEqual(limits.maxOpenMs + 1);
    expect(apart.at(-1)).toBeGreaterThan(limits.maxOpenMs / 2);
    for (const [i, gap] of apart.slice(0, 4).entries()) expect(apart[i + 1]).toBeGreaterThan(gap);
  });

  it("is not held back for messages that it refuses, however many", () => {
    const world = new World(() => REFUSES).runUntil(T0 + 1000);
    expect(world.health.state).toBe("closed");
    expect(world.sent.length).toBeGreaterThan(100);
  });

  it("is not held back for one message that it always fails", () => {
    let health: Health = newHealth;
    for (let n = 0; n < 100; n++) {
      const signs = noteRequest(NO_SIGNS, { delivered: false, status: 500, offset: 7 }, T0 + n);
      health = judge(
        health,
        { signs, done: true, wasClean: false, isBehind: true },
        { now: T0 + n, jitter: () => 0 },
      );
    }
    expect(health.state).toBe("closed");
  });

  it("spares the attempt of a probe, and of nothing else", () => {
    const world = new World(() => DOWN);
    expect(sparesAttempts(world.health)).toBe(false);
    expect(sparesAttempts(world.runUntil(T0 + 1000).health)).toBe(true);
  });
});

describe("an endpoint that asks for a pause", () => {
  const asking = (status: number, retryAfterMs: number) => {
    const signs = noteRequest(NO_SIGNS, { delivered: false, status, offset: 0, retryAfterMs }, T0);
    return judge(
      newHealth,
      { signs, done: true, wasClean: false, isBehind: true },
      { now: T0, jitter: () => 0 },
    );
  };

  it("is left alone for as long as it says, by 429 or 503, after one request", () => {
    expect(asking(429, 60_000)).toMatchObject({ state: "open", until: T0 + 60_000 });
    expect(asking(503, 60_000)).toMatchObject({ state: "open", until: T0 + 60_000 });
    expect(asking(500, 60_000).state).toBe("closed");
  });

  it("is not believed below a second or beyond a day", () => {
    expect(asking(429, 0)).toMatchObject({ until: T0 + limits.minPauseMs });
    expect(asking(429, 10 * limits.maxRetryAfterMs)).toMatchObject({ until: T0 + limits.maxRetryAfterMs });
  });

  it("is looked at again at once when the operator says so", () => {
    expect(forgiven(asking(429, 60_000), T0 + 5)).toMatchObject({ state: "open", until: T0 + 5 });
  });
});

describe("an endpoint that comes back", () => {
  const BACK = T0 + 60_000;

  it("is sent one, and then twice as many each second up to the ceiling, oldest first", () => {
    const world = new World(during(T0, BACK)).runUntil(BACK + 600_000);
    const back = world.sent.filter(({ at, state }) => at >= BACK && state !== "closed");
    const start = back[0]?.at ?? 0;
    const perSecond = new Map<number, number>();
    for (const { at } of back) {
      const second = Math.floor((at - start) / 1000);
      perSecond.set(second, (perSecond.get(second) ?? 0) + 1);
    }
    const counts = [...perSecond.values()];
    expect(counts[0]).toBeLessThanOrEqual(3);
    for (const [i, n] of counts.slice(0, -1).entries()) expect(counts[i + 1]).toBeLessThanOrEqual(2 * n + 2);
    expect(Math.max(...counts)).toBeLessThanOrEqual(limits.minDrainPerSecond + 1);
    expect(world.sent.map(({ offset }) => offset)).toEqual(world.sent.map((_, i) => i));
  });

  it("is sent a backlog of 3,000 at no more than the ceiling, and all of it in the time that takes", () => {
    const world = new World(during(T0, BACK), { backlog: 3_000 }).runUntil(BACK + 3_600_000);
    const tookMs = (world.sent.at(-1)?.at ?? 0) - BACK;
    expect(world.sent).toHaveLength(3_000);
    expect(world.health.state).toBe("closed");
    expect(tookMs).toBeGreaterThan((2_900 / limits.minDrainPerSecond) * 1000);
    expect(tookMs).toBeLessThan((3_000 / limits.minDrainPerSecond) * 1000 + limits.maxOpenMs + 10_000);
  });

  it("is sent twice what it took before, when that is more", () => {
    const world = new World(during(T0 + 300_000, T0 + 310_000), { latencyMs: 10 }).runUntil(T0 + 305_000);
    const { health } = world;
    expect(health.state === "open" && health.ceiling).toBeGreaterThan(150);
    expect(health.state === "open" && health.ceiling).toBeLessThanOrEqual(200);
  });

  it("that fails again on the ramp is left alone again", () => {
    const world = new World(during(T0, BACK)).runUntil(BACK + 1);
    while (world.health.state !== "ramping") world.runUntil(world.now + 1);
    const signs = noteRequest(NO_SIGNS, { ...DOWN, offset: 1 }, world.now);
    const judged = { signs, done: true, wasClean: false, isBehind: true };
    expect(judge({ ...world.health, perSecond: 1 }, judged, { now: world.now, jitter: () => 0 }).state).toBe(
      "open",
    );
  });
});

describe("whatever an endpoint answers", () => {
  const answers = fc.array(
    fc.oneof(
      { weight: 3, arbitrary: fc.constant(OK) },
      { weight: 3, arbitrary: fc.constant(DOWN) },
      { weight: 1, arbitrary: fc.constant(REFUSES) },
      {
        weight: 1,
        arbitrary: fc.record({
          delivered: fc.constant(false),
          status: fc.constantFrom(429, 503),
          retryAfterMs: fc.integer({ min: 0, max: 2 * limits.maxRetryAfterMs }),
        }),
      },
    ),
    { minLength: 1, maxLength: 40 },
  );

  it("nothing is sent while it is open, never more than one probe, and it is never left alone for longer than the bound", () => {
    const property = fc.property(answers, fc.double({ min: 0, max: 0.999, noNaN: true }), (all, jitter) => {
      let n = 0;
      const world = new World(() => all[Math.floor(n++ / 12) % all.length] ?? OK, { jitter });
      let sent = 0;
      for (let turn = 0; turn < 500; turn++) {
        const { health, now } = world;
        world.runUntil(now + 1);
        const fresh = world.sent.length - sent;
        sent = world.sent.length;
        if (health.state !== "open") continue;
        expect(fresh).toBeLessThanOrEqual(now < health.until ? 0 : 1);
        expect(health.until - now).toBeLessThanOrEqual(Math.max(limits.maxOpenMs, limits.maxRetryAfterMs));
        if (now < health.until) world.now = health.until;
      }
    });
    fc.assert(property, { numRuns: 30 });
  });

  it("it ends closed once it answers well for long enough", () => {
    const property = fc.property(answers, (all) => {
      let n = 0;
      const end = T0 + 600_000;
      const world = new World((now) => (now < end ? (all[n++ % all.length] ?? OK) : OK), {
        latencyMs: 5_000,
      });
      world.runUntil(end);
      world.runUntil(end + limits.maxRetryAfterMs + limits.maxRampMs + 120_000);
      expect(world.health.state).toBe("closed");
    });
    fc.assert(property, { numRuns: 20 });
  });
});
