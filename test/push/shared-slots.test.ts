// A dispatch whose partition shares with others how many requests may be under way: it begins as many as it is given, and says
// how many of its own are.
import { describe, expect, it } from "vitest";
import type { SlotShare } from "../../src/capacity-calls";
import { ok } from "../../src/errors";
import { limits } from "../../src/limits";
import { World } from "./dispatch-world";

const several = (count: number) => Array.from({ length: count }, () => ({}));

function sending(own = 1) {
  const shared = { partitions: 4, paces: {}, slots: { max: 4, own }, isBehind: false };
  return { connections: 4, stopAfter: 10, shared };
}

/** A world whose requests take a second each, and whose capacity gives these slots, one after another. */
function given(...slots: readonly number[]): World {
  const world: World = new World(async () => {
    await world.sleep(1_000);
    return new Response(null, { status: 204 });
  });
  let asked = 0;
  world.answerAsk = (ask) => {
    if (ask.slots === undefined) return ok({ paces: {} });
    const share: SlotShare = {
      slots: slots[asked++] ?? slots.at(-1) ?? 0,
      endsInMs: limits.slotsMs,
      againInMs: limits.slotsAgainMs,
    };
    return ok({ paces: {}, slots: share });
  };
  return world;
}

describe("a dispatch that shares slots", () => {
  it("has no more under way than it is given, and tells how many are and could be", async () => {
    const world = given(2);
    const start = world.now;
    await world.dispatch({ messages: several(6), sending: sending() });
    expect(world.mostUnderWay).toBe(2);
    expect(world.sent.map(({ at }) => at - start)).toEqual([0, 0, 1_000, 1_000, 2_000, 2_000]);
    const told = world.asks.flatMap(({ slots }) => (slots ? [[slots.underWay, slots.held, slots.want]] : []));
    expect(told.slice(0, 2)).toEqual([
      [0, 0, 4],
      [2, 2, 4],
    ]);
    // At the end it wants no more than is under way.
    expect(told.at(-1)).toEqual([2, 2, 2]);
  });

  it("says that it has ended, once nothing of it is under way", async () => {
    const world = given(4);
    await world.dispatch({ messages: several(3), sending: sending(), leaseId: "the-lease" });
    const ended = world.asks.filter((ask) => ask.ended !== undefined);
    expect(ended).toMatchObject([{ ended: "the-lease", at: world.now }]);
    expect(world.results.every(([, result]) => result === "delivered")).toBe(true);
  });

  it("begins nothing while it is given none, and goes on when it is given some", async () => {
    const world = given(0, 0, 1);
    const start = world.now;
    await world.dispatch({ messages: several(1), sending: sending() });
    expect(world.sent.map(({ at }) => at - start)).toEqual([2 * limits.slotsAgainMs]);
  });

  it("ends what is under way when it is given fewer, and begins none meanwhile", async () => {
    const world = given(3, 1);
    const start = world.now;
    await world.dispatch({ messages: several(5), sending: sending() });
    expect(world.sent.map(({ at }) => at - start)).toEqual([0, 0, 0, 1_000, 2_000]);
  });
});

describe("a dispatch whose capacity is away", () => {
  const away = () => Promise.reject(new Error("the object was reset"));

  it("begins nothing for a while, then as many as are its own", async () => {
    const world = given(0);
    world.answerAsk = away;
    const start = world.now;
    await world.dispatch({ messages: several(3), sending: sending(1) });
    expect(world.mostUnderWay).toBe(1);
    const [first = 0] = world.sent.map(({ at }) => at - start);
    expect(first).toBeGreaterThanOrEqual(limits.shareLostMs);
    expect(first).toBeLessThanOrEqual(limits.shareLostMs + limits.shareWaitMs + limits.shareRetryMs);
    expect(world.results.every(([, result]) => result === "delivered")).toBe(true);
  });

  it("gives all of it back when none are its own", async () => {
    const world = given(0);
    world.answerAsk = away;
    await world.dispatch({ messages: several(3), sending: sending(0) });
    expect(world.sent).toEqual([]);
    expect(world.results.map(([, result]) => result)).toEqual(["unsent", "unsent", "unsent"]);
    expect(world.outcomes.get(0)).toMatchObject({ delayMs: 0 });
  });
});
