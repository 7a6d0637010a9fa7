// Isolates that spend a limit together: never more than it in a window, and one ask for many requests.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type Ask,
  fail,
  giveBack,
  grant,
  type Meter,
  newMeter,
  type Spending,
  spend,
  standingOf,
} from "../../src/http/meter";
import { rateLimitHeaders } from "../../src/http/rate-limit-headers";
import { type Policy, windowAt } from "../../src/limit-policy";
import { idle, type LimiterState, take } from "../../src/limiter/limiter";
import type { Block } from "../../src/limiter-calls";
import { limits } from "../../src/limits";

const AT = Date.UTC(2026, 10, 24, 12);
const minute = (limit: number): Policy => ({ name: "token-rate", period: "perMinute", limit });

/** Isolates and their limiter; the isolates' clocks may be off by some milliseconds. */
function scene(policy: Policy, skews: readonly number[] = [0]) {
  let asks = 0;
  const world = { now: AT, state: idle as LimiterState, asked: 0, handed: new Map<number, number>() };
  const meters: Meter[] = skews.map((skew) => newMeter(policy, AT + skew));
  const clock = (isolate: number) => world.now + (skews[isolate] ?? 0);
  const keep = (isolate: number, spending: Spending) => {
    meters[isolate] = spending.meter;
    return spending;
  };
  const answer = ({ need, want, owed }: Ask): Block => {
    world.asked += 1;
    const taken = take(world.state, { askId: `ask-${++asks}`, policy, need, want, owed }, world.now);
    world.state = taken.state;
    const { endsAt, granted } = taken.block;
    world.handed.set(endsAt, (world.handed.get(endsAt) ?? 0) + granted);
    return taken.block;
  };
  const begin = (isolate: number, units: number) =>
    keep(isolate, spend(meters[isolate] ?? newMeter(policy, clock(isolate)), units, clock(isolate)));
  const end = (isolate: number, ask: Ask, block: Block | undefined) => {
    const meter = meters[isolate] ?? newMeter(policy, clock(isolate));
    return keep(isolate, block ? grant(meter, ask, block, clock(isolate)) : fail(meter, ask, clock(isolate)));
  };
  const request = (isolate = 0, units = 1): string => {
    const begun = begin(isolate, units);
    return begun.outcome === "ask" ? end(isolate, begun.ask, answer(begun.ask)).outcome : begun.outcome;
  };
  const evict = (isolate: number) => {
    meters[isolate] = newMeter(policy, clock(isolate));
  };
  return { world, meters, begin, end, answer, request, evict, clock };
}

describe("many isolates", () => {
  const deeds = fc.array(
    fc.record({
      isolate: fc.integer({ min: 0, max: 2 }),
      units: fc.integer({ min: 1, max: 8 }),
      ms: fc.integer({ min: 0, max: 9_000 }),
      deed: fc.constantFrom("request", "request", "request", "begin", "end", "evict", "refund"),
    }),
    { maxLength: 120 },
  );

  test("spend no more than the limit of a window between them, whatever is under way, lost, given back or skewed", () => {
    fc.assert(
      fc.property(fc.integer({ min: 8, max: 120 }), deeds, (limit, all) => {
        const { world, meters, begin, end, answer, request, evict, clock } = scene(
          minute(limit),
          [0, 700, -700],
        );
        const pending: { isolate: number; ask: Ask; block: Block }[] = [];
        const spent = { units: 0 };
        for (const { isolate, units, ms, deed } of all) {
          world.now += ms;
          if (deed === "request" && request(isolate, units) === "spent") spent.units += units;
          if (deed === "begin") {
            const begun = begin(isolate, units);
            if (begun.outcome === "spent") spent.units += units;
            if (begun.outcome === "ask") pending.push({ isolate, ask: begun.ask, block: answer(begun.ask) });
          }
          const [first] = deed === "end" ? pending.splice(0, 1) : [];
          if (first && end(first.isolate, first.ask, first.block).outcome === "spent")
            spent.units += first.ask.units;
          if (deed === "evict") evict(isolate);
          if (deed === "refund" && spent.units >= units) {
            const before = meters[isolate] as Meter;
            const after = giveBack(before, units, before.endsAt, clock(isolate));
            if (after !== before) spent.units -= units;
            meters[isolate] = after;
          }
          // Never more than was handed out, of which no window hands out more than its limit.
          const handed = [...world.handed.values()];
          expect(Math.max(0, ...handed)).toBeLessThanOrEqual(limit);
          expect(spent.units).toBeLessThanOrEqual(handed.reduce((sum, n) => sum + n, 0));
        }
      }),
    );
  });
});

describe("while the limiter is slow, or away, or answers out of turn", () => {
  const deeds = fc.array(
    fc.record({
      isolate: fc.nat({ max: 1 }),
      units: fc.integer({ min: 1, max: 4 }),
      ms: fc.integer({ min: 0, max: 4_000 }),
      which: fc.nat({ max: 20 }),
      deed: fc.constantFrom(
        ...([
          "begin",
          "begin",
          "begin",
          "answer",
          "answer",
          "late",
          "unheard",
          "forgotten",
          "refund",
        ] as const),
      ),
    }),
    { maxLength: 150 },
  );

  test("an isolate lets no more pass in a window than the limit, and all of them no more than it and what they lent themselves", () => {
    fc.assert(
      fc.property(fc.integer({ min: 4, max: 30 }), deeds, (limit, all) => {
        const { world, meters, begin, end, answer } = scene(minute(limit), [0, 0]);
        const [passed, lent] = [new Map<string, number>(), new Map<string, number>()];
        const spent: { isolate: number; units: number; endsAt: number | undefined; window: string }[] = [];
        const note = (isolate: number, outcome: string, units: number) => {
          const window = `${windowAt("perMinute", world.now).endsAt} ${isolate}`;
          lent.set(window, meters[isolate]?.lent ?? 0);
          if (outcome !== "spent") return;
          passed.set(window, (passed.get(window) ?? 0) + units);
          expect(passed.get(window)).toBeLessThanOrEqual(limit);
          spent.push({ isolate, units, window, endsAt: meters[isolate]?.endsAt });
        };
        const refund = (which: number) => {
          const [one] = spent.splice(which % Math.max(1, spent.length), 1);
          const before = one && meters[one.isolate];
          if (!before) return;
          const after = giveBack(before, one.units, one.endsAt, world.now);
          meters[one.isolate] = after;
          // What could not be given back has passed all the same.
          if (after !== before) passed.set(one.window, (passed.get(one.window) ?? 0) - one.units);
        };
        const pending: { isolate: number; ask: Ask; block: Block | undefined }[] = [];
        for (const { isolate, units, ms, which, deed } of all) {
          world.now += ms;
          if (deed === "begin") {
            const begun = begin(isolate, units);
            note(isolate, begun.outcome, units);
            if (begun.outcome !== "ask") continue;
            // Some are cut a block at once, others only when their answer is on its way, and others never.
            pending.push({ isolate, ask: begun.ask, block: which % 2 ? answer(begun.ask) : undefined });
            continue;
          }
          if (deed === "refund") {
            refund(which);
            continue;
          }
          const [one] = pending.splice(which % Math.max(1, pending.length), 1);
          if (!one || deed === "forgotten") continue;
          const block = deed === "unheard" ? undefined : (one.block ?? answer(one.ask));
          const ended = end(one.isolate, one.ask, deed === "answer" ? block : undefined);
          note(one.isolate, ended.outcome, one.ask.units);
        }
        const sumOf = (of: Map<string, number>, window: string) =>
          [0, 1].reduce((sum, isolate) => sum + (of.get(`${window} ${isolate}`) ?? 0), 0);
        for (const [window] of [...passed.keys()].map((key) => key.split(" ") as [string])) {
          expect(sumOf(passed, window)).toBeLessThanOrEqual(limit + sumOf(lent, window));
        }
      }),
      { numRuns: 1_000 },
    );
  });

  test("an isolate pays what it lent itself from blocks that come after it lent: of 25 at once while the limiter wakes 10 pass, not 20", () => {
    const { begin, end, answer } = scene(minute(10));
    const asks = Array.from({ length: 25 }, () => {
      const begun = begin(0, 1);
      if (begun.outcome !== "ask") throw new Error("each asks for itself");
      return begun.ask;
    });
    const late = asks.slice(0, 12).map((ask) => end(0, ask, undefined).outcome);
    const inTime = asks.slice(12).map((ask) => end(0, ask, answer(ask)).outcome);
    expect([...late, ...inTime].filter((outcome) => outcome === "spent")).toHaveLength(10);
  });

  test("a block that was cut before the limiter heard of a loan, and comes after, pays what there was no room for", () => {
    const { world, begin, end, answer } = scene(minute(4));
    const away = begin(0, 2);
    if (away.outcome === "ask") end(0, away.ask, undefined);
    world.now += limits.limiterRetryMs;
    const [telling, large] = [begin(0, 1), begin(0, 3)];
    if (telling.outcome !== "ask" || large.outcome !== "ask") throw new Error("both ask");
    const block = answer(large.ask);
    expect(end(0, telling.ask, answer(telling.ask)).outcome).toBe("refused");
    expect(end(0, large.ask, block)).toMatchObject({ outcome: "again", meter: { balance: 2 } });
  });

  test("it tells the limiter later what an ask carried that nobody ended", () => {
    const { world, begin, end, answer } = scene(minute(10));
    const first = begin(0, 4);
    if (first.outcome === "ask") end(0, first.ask, undefined);
    world.now += limits.limiterRetryMs;
    const cutOff = begin(0, 1);
    expect(cutOff).toMatchObject({ outcome: "ask", ask: { owed: 4 } });
    const beside = begin(0, 1);
    expect(beside).toMatchObject({ outcome: "ask", ask: { owed: 0 } });
    world.now += limits.limiterTries * limits.limiterWaitMs;
    const again = begin(0, 1);
    expect(again).toMatchObject({ outcome: "ask", ask: { owed: 4 } });
    if (again.outcome !== "ask") throw new Error("it asks");
    expect(end(0, again.ask, answer(again.ask))).toMatchObject({ outcome: "spent", meter: { owed: 0 } });
  });

  test("it lends itself no second time in a window whose end it heard too early, for the answer was slow", () => {
    const { world, begin, end, answer } = scene(minute(10));
    const slow = begin(0, 4);
    if (slow.outcome !== "ask") throw new Error("it asks");
    world.now += limits.limiterWaitMs - 1;
    expect(end(0, slow.ask, answer(slow.ask)).outcome).toBe("spent");
    const attempt = () => {
      const begun = begin(0, 1);
      return begun.outcome === "ask" ? end(0, begun.ask, undefined).outcome : begun.outcome;
    };
    world.now = AT + 50_000;
    expect(Array.from({ length: 6 }, attempt)).toEqual(Array(6).fill("spent"));
    world.now = AT + 59_000;
    expect(attempt()).toBe("refused");
    world.now = AT + 60_000;
    expect(attempt()).toBe("spent");
  });

  test("it keeps account of what it lent itself when an answer of the window before comes late", () => {
    const { world, begin, end, answer } = scene(minute(3));
    world.now = AT + 59_000;
    const early = begin(0, 1);
    if (early.outcome !== "ask") throw new Error("it asks");
    const block = answer(early.ask);
    world.now = AT + 60_500;
    const attempt = () => {
      const begun = begin(0, 1);
      return begun.outcome === "ask" ? end(0, begun.ask, undefined).outcome : begun.outcome;
    };
    expect([attempt(), attempt(), attempt()]).toEqual(["spent", "spent", "spent"]);
    expect(end(0, early.ask, block).outcome).toBe("again");
    world.now += limits.limiterRetryMs;
    expect(attempt()).toBe("away");
  });
});

test("a busy isolate asks once for a block, not once for a request, and refusals ask nobody", () => {
  const { world, request } = scene(minute(1_000));
  const outcomes = Array.from({ length: 1_200 }, () => request());
  expect(outcomes.filter((outcome) => outcome === "spent")).toHaveLength(1_000);
  expect(outcomes.slice(1_000).every((outcome) => outcome === "refused")).toBe(true);
  expect(world.asked).toBeLessThan(60);
});

test("an isolate that asks now and then takes what it needs, so that its end forfeits nothing", () => {
  const { world, request, evict } = scene({ name: "token-quota", period: "perMonth", limit: 100 });
  for (let i = 0; i < 100; i++) {
    expect(request()).toBe("spent");
    world.now += limits.limiterGrowMs;
    evict(0);
  }
  expect(request()).toBe("refused");
});

test("an isolate that ends in a burst forfeits at most twice what it had spent", () => {
  for (const length of [1, 2, 3, 7, 20, 100]) {
    const { world, request } = scene({ name: "token-quota", period: "perMonth", limit: 1_000_000 });
    for (let i = 0; i < length; i++) request();
    const handed = [...world.handed.values()].reduce((sum, n) => sum + n, 0);
    expect(handed).toBeLessThanOrEqual(3 * length);
  }
});

test("what one request set aside while it asks is not spent by another", () => {
  const { begin, end, answer, request, meters } = scene(minute(100));
  request(0, 1);
  meters[0] = { ...(meters[0] as Meter), balance: 3 };
  const large = begin(0, 5);
  expect(large).toMatchObject({ outcome: "ask", ask: { need: 2, reserved: 3 } });
  const small = begin(0, 1);
  expect(small).toMatchObject({ outcome: "ask", ask: { need: 1, want: 1 } });
  if (large.outcome !== "ask" || small.outcome !== "ask") throw new Error("both ask");
  expect(end(0, small.ask, answer(small.ask)).outcome).toBe("spent");
  expect(end(0, large.ask, answer(large.ask)).outcome).toBe("spent");
});

test("a smaller need is asked for after a larger one was refused, and a larger one is not", () => {
  const { world, request } = scene(minute(10));
  expect([request(0, 8), request(0, 4), request(0, 5)]).toEqual(["spent", "refused", "refused"]);
  expect(world.asked).toBe(2);
  expect([request(0, 2), request(0, 1)]).toEqual(["spent", "refused"]);
});

test("a block of a window that is over by now is not spent in the next one", () => {
  const { world, begin, end, answer, request } = scene(minute(10));
  const early = begin(0, 1);
  if (early.outcome !== "ask") throw new Error("it asks");
  const block = answer(early.ask);
  world.now += 60_000;
  expect(request()).toBe("spent");
  expect(end(0, early.ask, block).outcome).toBe("again");
});

test("what is given back is spent again in its own window, and in no other", () => {
  const { world, request, meters } = scene(minute(10));
  request(0, 10);
  const { endsAt } = meters[0] as Meter;
  meters[0] = giveBack(meters[0] as Meter, 4, endsAt, world.now);
  expect([request(0, 4), request(0, 1)]).toEqual(["spent", "refused"]);
  world.now += 60_000;
  request(0, 10);
  meters[0] = giveBack(meters[0] as Meter, 4, endsAt, world.now);
  expect(request(0, 1)).toBe("refused");
});

describe("while the limiter is away", () => {
  const lost = (policy: Policy, units = 1) => {
    const { world, begin, end, meters, request } = scene(policy);
    const attempt = () => {
      const begun = begin(0, units);
      return begun.outcome === "ask" ? end(0, begun.ask, undefined).outcome : begun.outcome;
    };
    return { world, attempt, meters, request };
  };

  test("a rate lets its limit through once in a window, and then nobody knows", () => {
    const { attempt } = lost(minute(5));
    const outcomes = Array.from({ length: 7 }, attempt);
    expect(outcomes).toEqual(["spent", "spent", "spent", "spent", "spent", "away", "away"]);
  });

  test("a quota lets a hundredth of it through", () => {
    const { attempt } = lost({ name: "topic-quota", period: "perDay", limit: 150 });
    expect([attempt(), attempt(), attempt()]).toEqual(["spent", "spent", "away"]);
  });

  test("it lends no more than was left when the limiter last answered in this window", () => {
    const { attempt, request } = lost(minute(5));
    expect([request(), request(), request()]).toEqual(["spent", "spent", "spent"]);
    expect([attempt(), attempt(), attempt()]).toEqual(["spent", "spent", "refused"]);
  });

  test("it is not asked again for a second, and what was let through is counted when it is back", () => {
    const { world, attempt, meters, request } = lost(minute(5));
    attempt();
    expect(meters[0]?.awayUntil).toBe(AT + limits.limiterRetryMs);
    attempt();
    world.now += limits.limiterRetryMs;
    expect([request(), request(), request(), request()]).toEqual(["spent", "spent", "spent", "refused"]);
    expect(meters[0]).toMatchObject({ owed: 0, awayUntil: 0 });
  });
});

describe("the headers", () => {
  test("say what is left and in how many seconds the window ends, rounded up", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 50 }), fc.integer({ min: 0, max: 59_999 }), (requests, ms) => {
        const { world, request, meters } = scene(minute(50));
        world.now += ms;
        for (let i = 0; i < requests; i++) request();
        const standing = standingOf(meters[0] as Meter, world.now);
        const t = Math.ceil((windowAt("perMinute", world.now).endsAt - world.now) / 1000);
        expect(rateLimitHeaders([standing])).toEqual({
          "ratelimit-policy": '"token-rate";q=50;w=60',
          ratelimit: `"token-rate";r=${50 - requests};t=${t}`,
        });
      }),
    );
  });

  test("name a limit that nothing is known of yet by its policy alone, and nothing when there is none", () => {
    const quota: Policy = { name: "token-quota", period: "perMonth", limit: 9 };
    const policy = `"token-quota";q=9;w=${30 * 86_400}`;
    expect(rateLimitHeaders([standingOf(newMeter(quota, AT), AT)])).toEqual({ "ratelimit-policy": policy });
    expect(rateLimitHeaders([])).toEqual({});
  });
});
