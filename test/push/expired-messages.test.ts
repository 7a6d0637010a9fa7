// A dispatch sends nothing that has expired: it goes back, no attempt counted, and its lane behind it in order.
import { describe, expect, it } from "vitest";
import { limits } from "../../src/limits";
import { World } from "./dispatch-world";

const START = 1_800_000_000_000;
const second = 1_000;
const slow = (world: () => World) => async () => {
  await world().sleep(second);
  return new Response(null);
};

describe("an expired message", () => {
  it("is given back unsent, and others are sent", async () => {
    const world = new World();
    await world.dispatch({ messages: [{ expiresAt: START }, {}, { expiresAt: START + 1 }] });
    expect(world.sent.map(({ id }) => id)).toEqual(["m1", "m2"]);
    expect(world.outcomes.get(0)).toMatchObject({
      result: "unsent",
      delayMs: limits.expiredAgainMs,
      reason: "the message has expired",
    });
  });

  it("that expires while its lane is busy is not sent after it", async () => {
    const world: World = new World(slow(() => world));
    const lane = { orderingKey: "k" };
    await world.dispatch({ messages: [lane, { ...lane, expiresAt: START + second }, lane] });
    expect(world.sent.map(({ id }) => id)).toEqual(["m0"]);
    expect(world.results).toEqual([
      [0, "delivered"],
      [1, "unsent"],
      [2, "unsent"],
    ]);
  });

  it("that is being sent when it expires is delivered", async () => {
    const world: World = new World(slow(() => world));
    await world.dispatch({ messages: [{ expiresAt: START + 1 }] });
    expect(world.results).toEqual([[0, "delivered"]]);
  });

  it("under effectively-once gives its claim back, so that nobody waits for it", async () => {
    const world = new World();
    const settings = { guarantee: "effectively-once" as const };
    await world.dispatch({ messages: [{ expiresAt: START }], settings });
    expect([world.sent, world.results]).toEqual([[], [[0, "unsent"]]]);
    // Its clock was ahead: when it is leased again in time, another dispatch may send it.
    await world.dispatch({ messages: [{}], settings });
    expect(world.results).toEqual([[0, "delivered"]]);
  });
});
