// A call to the dispatcher that arrives twice, as every call may (docs/delivery-contract.md, clauses 10, 12, 13 and 14).
import { describe, expect, it } from "vitest";
import type { Begin } from "../../src/dispatch-calls";
import type { Guarantee } from "../../src/settings";
import { World } from "./dispatch-world";

const GUARANTEES: readonly Guarantee[] = ["at-least-once", "at-most-once", "effectively-once"];
const lane = [{ orderingKey: "a" }, { orderingKey: "a" }, {}];

/** As the subscription has it: the first that asks may begin. */
function onlyOnce(): Begin {
  let asked = 0;
  return async () => ++asked === 1;
}

/** Runs both dispatches of one call to their ends, the second beginning `laterMs` after the first. */
async function twice(world: World, guarantee: Guarantee, laterMs: number): Promise<void> {
  const call = world.callOf({ messages: lane, settings: { guarantee } });
  const settled = guarantee === "at-most-once" && { settled: true as const };
  const both = { ...call, lease: { ...call.lease, ...settled } };
  const begin = onlyOnce();
  const first = world.start(both, undefined, begin);
  const second = (async () => {
    await world.sleep(laterMs);
    return world.start(both, undefined, begin);
  })();
  let running: Awaited<typeof second> | undefined;
  void second.then((started) => {
    running = started;
  });
  await world.drive(() => first.ended && running?.ended === true);
  if (first.fault || running?.fault) throw first.fault ?? running?.fault;
}

const slow = (status: number) => {
  const world: World = new World(async () => {
    await world.sleep(1_000);
    return new Response(null, { status });
  });
  return world;
};
const ids = (world: World) => world.sent.map(({ id }) => id).sort();

describe("a dispatch whose call arrives twice", () => {
  for (const guarantee of GUARANTEES) {
    it(`sends each message once under ${guarantee}, whether the first is at work or has ended`, async () => {
      for (const laterMs of [1, 500, 60_000]) {
        const world = slow(204);
        await twice(world, guarantee, laterMs);
        expect([laterMs, ids(world)]).toEqual([laterMs, ["m0", "m1", "m2"]]);
      }
    });
  }

  it("counts no attempt twice, and gives nothing back that the other is sending", async () => {
    const world = slow(500);
    await twice(world, "at-least-once", 500);
    const told = world.reports
      .flatMap(({ outcomes }) => outcomes)
      .map(({ offset, result }) => [offset, result]);
    expect(told.sort()).toEqual([
      [0, "failed"],
      [1, "unsent"],
      [2, "failed"],
    ]);
    expect(world.reports.filter(({ done }) => done)).toHaveLength(1);
  });

  it("that cannot ask whether it is the first sends nothing: the lease ends by itself", async () => {
    const world = new World();
    const away: Begin = () => Promise.reject(new Error("Network connection lost."));
    const running = world.start(world.callOf({ messages: lane }), undefined, away);
    await world.drive(() => running.ended);
    expect([running.fault, world.sent, world.reports]).toEqual([expect.any(Error), [], []]);
  });
});
