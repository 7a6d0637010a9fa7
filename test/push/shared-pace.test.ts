// A dispatch whose partition shares a pace with others: it sends what it is given, asks when that is spent, and keeps to an
// equal share when nobody answers.
import { describe, expect, it } from "vitest";
import type { PaceShare } from "../../src/capacity-calls";
import type { Shared } from "../../src/dispatch-calls";
import { ok } from "../../src/errors";
import { limits } from "../../src/limits";
import { World } from "./dispatch-world";

const several = (count: number) => Array.from({ length: count }, () => ({}));
const shared: Shared = { partitions: 4, paces: { rate: 10 }, isBehind: false };

function sending(more: Partial<Shared> = {}, perSecond = 10) {
  const pace = { perSecond, nextSendAt: 0 };
  return { connections: 6, stopAfter: 10, pace, shared: { ...shared, ...more } };
}

/** A world whose capacity gives these shares of the rate, one after another. */
function given(...shares: readonly Partial<PaceShare>[]) {
  const world = new World();
  const start = world.now;
  let asked = 0;
  world.answerAsk = () => {
    const share = shares[asked++] ?? shares.at(-1);
    const whole = { requests: 1, perSecond: 10, endsInMs: 2_000, againInMs: 2_000, ...share };
    return ok({ paces: { rate: whole } });
  };
  return { world, sentAt: () => world.sent.map(({ at }) => at - start) };
}

describe("a dispatch that shares a pace", () => {
  it("sends what it is given as far apart as it is told, then asks again", async () => {
    const { world, sentAt } = given({ requests: 2, perSecond: 2 }, { requests: 3, perSecond: 5 });
    await world.dispatch({ messages: several(5), sending: sending() });
    expect(sentAt()).toEqual([0, 500, 2_000, 2_200, 2_400]);
    expect(world.asks.map(({ paces }) => paces.rate)).toEqual([
      { perSecond: 10, want: 5 },
      { perSecond: 10, want: 3 },
    ]);
  });

  it("waits when it is given nothing, and asks when it is told to", async () => {
    const { world, sentAt } = given({ requests: 0, perSecond: 0, againInMs: 700 }, { requests: 1 });
    await world.dispatch({ messages: several(1), sending: sending() });
    expect(sentAt()).toEqual([700]);
  });

  it("says what it will want later when it is not the last of its backlog", async () => {
    const { world } = given({ requests: 3 });
    await world.dispatch({ messages: several(3), sending: sending({ isBehind: true }) });
    expect(world.asks[0]?.paces.rate).toEqual({ perSecond: 10, want: 3, wantLater: limits.dispatchMessages });
  });

  it("begins nothing after its share has ended, and then wants no more than it can send", async () => {
    const world: World = new World(async () => {
      await world.sleep(5_000);
      return new Response(null, { status: 204 });
    });
    const start = world.now;
    const rate = { requests: 20, perSecond: 10, endsInMs: 2_000, againInMs: 2_000 };
    world.answerAsk = () => ok({ paces: { rate } });
    await world.dispatch({ messages: several(20), sending: sending() });
    // Six at once, five seconds each: its share ends with most of it unspent.
    const begun = world.sent.map(({ at }) => at - start);
    expect(begun.slice(0, 7)).toEqual([0, 100, 200, 300, 400, 500, 5_000]);
    expect(world.asks.slice(0, 2).map(({ paces }) => paces.rate?.want)).toEqual([20, 13]);
    expect(world.sent).toHaveLength(20);
  });

  it("leaves a wait for long to its subscription", async () => {
    const { world } = given({ requests: 0, perSecond: 0, againInMs: 60_000 });
    const start = world.now;
    await world.dispatch({ messages: several(1), sending: sending({ paces: { rate: 1 / 60 } }, 1 / 60) });
    expect(world.sent).toEqual([]);
    expect(world.results).toEqual([[0, "unsent"]]);
    expect(world.reports.at(-1)?.signs?.nextSendAt).toBe(start + 60_000);
    expect(world.now).toBe(start);
  });

  it("asks for each pace that it shares, and keeps to all of them", async () => {
    const world = new World();
    const start = world.now;
    world.answerAsk = ({ paces }) =>
      ok({
        paces: {
          ...(paces.rate && { rate: { requests: 20, perSecond: 10, endsInMs: 2_000, againInMs: 2_000 } }),
          ...(paces.drain && { drain: { requests: 1, perSecond: 1, endsInMs: 1_000, againInMs: 1_000 } }),
        },
      });
    await world.dispatch({ messages: several(3), sending: sending({ paces: { rate: 10, drain: 1 } }) });
    expect(world.sent.map(({ at }) => at - start)).toEqual([0, 1_000, 2_000]);
    expect(world.asks.map(({ paces }) => Object.keys(paces))).toEqual([
      ["rate", "drain"],
      ["drain"],
      ["rate", "drain"],
    ]);
  });
});

describe("a dispatch whose capacity is away", () => {
  const away = [
    ["faults", () => Promise.reject(new Error("the object was reset"))],
    ["does not answer", () => new Promise<never>(() => undefined)],
  ] as const;

  it.each(away)("sends nothing for a while when it %s, then its equal share", async (_, answer) => {
    const world = new World();
    world.answerAsk = answer;
    const start = world.now;
    await world.dispatch({ messages: several(10), sending: sending() });
    const at = world.sent.map((sent) => sent.at - start);
    expect(at[0]).toBeGreaterThanOrEqual(limits.shareLostMs);
    expect(at[0]).toBeLessThanOrEqual(limits.shareLostMs + limits.shareWaitMs + limits.shareRetryMs);
    for (const [i, each] of at.slice(1).entries()) expect(each - (at[i] ?? 0)).toBeGreaterThanOrEqual(400);
    expect(world.results.every(([, result]) => result === "delivered")).toBe(true);
    // The next dispatch too keeps to it.
    expect(world.reports.at(-1)?.signs?.nextSendAt).toBe((world.sent.at(-1)?.at ?? 0) + 400);
  });

  it("keeps to what it was given for as long as that lasts", async () => {
    const world = new World();
    const start = world.now;
    const share = { requests: 2, perSecond: 1, endsInMs: 2_000, againInMs: 2_000 };
    world.answerAsk = () => {
      if (world.asks.length > 1) throw new Error("away");
      return ok({ paces: { rate: share } });
    };
    await world.dispatch({ messages: several(3), sending: sending() });
    const at = world.sent.map((sent) => sent.at - start);
    expect(at.slice(0, 2)).toEqual([0, 1_000]);
    expect(at[2]).toBeGreaterThanOrEqual(limits.shareLostMs);
  });

  it("counts the silence from the first ask that nobody answered, however long its share was", async () => {
    const world = new World();
    const start = world.now;
    const share = { requests: 1, perSecond: 0.125, endsInMs: 8_000, againInMs: 8_000 };
    world.answerAsk = () => {
      if (world.asks.length === 2) throw new Error("away");
      const others = { ...share, requests: 0, againInMs: 6_000 };
      return ok({ paces: { rate: world.asks.length === 3 ? others : share } });
    };
    await world.dispatch({ messages: several(2), sending: sending({ paces: { rate: 0.125 } }, 0.125) });
    const at = world.sent.map((sent) => sent.at - start);
    expect(at[0]).toBe(0);
    expect(at[1]).toBeGreaterThanOrEqual(14_000);
  });

  it("goes on by what it is given as soon as it is answered", async () => {
    const world = new World();
    const start = world.now;
    world.answerAsk = () => {
      if (world.now < start + 1_000) throw new Error("away");
      return ok({ paces: { rate: { requests: 2, perSecond: 10, endsInMs: 2_000, againInMs: 2_000 } } });
    };
    await world.dispatch({ messages: several(2), sending: sending() });
    expect(world.sent.at(-1)?.at).toBeLessThanOrEqual(start + 1_000 + limits.shareRetryMs + 100);
  });
});
