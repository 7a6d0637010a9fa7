// At-most-once push (docs/delivery-contract.md, clause 13): whatever happens, nothing is sent twice, and all that was
// settled is sent.
import { describe, expect, it } from "vitest";
import { limits } from "../../src/limits";
import { defaultSubscriptionSettings } from "../../src/settings";
import { dispatchMessages } from "../../src/subscription/push-pump";
import { type Asked, World } from "./dispatch-world";
import { Isolate } from "./isolate";

const settings = { guarantee: "at-most-once" } as const;
const second = 1_000;

/** Runs a dispatch of what is settled already. */
async function dispatched(world: World, asked: Omit<Asked, "settings">, isolate?: Isolate): Promise<void> {
  const call = world.callOf({ ...asked, settings });
  const running = world.start({ ...call, lease: { ...call.lease, settled: true } }, isolate);
  await world.drive(() => running.ended || isolate?.stoppedAt !== undefined);
  if (running.fault) throw running.fault;
}

const ids = (world: World) => world.sent.map(({ id }) => id);
const several = (count: number, orderingKey?: string) =>
  Array.from({ length: count }, () => (orderingKey === undefined ? {} : { orderingKey }));

describe("a dispatch under at-most-once", () => {
  it("reports nothing: there is no lease to extend or to settle", async () => {
    const world: World = new World(async () => {
      await world.sleep(20 * second);
      return new Response();
    });
    await dispatched(world, { messages: several(3) });
    expect(ids(world)).toHaveLength(3);
    expect(world.reports).toEqual([]);
  });

  it("sends each message once, whatever is answered, and says which are lost", async () => {
    const world = new World(({ id }) => new Response(null, { status: id === "m1" ? 500 : 204 }));
    await dispatched(world, { messages: several(3) });
    expect(ids(world)).toEqual(["m0", "m1", "m2"]);
    expect(world.lines).toMatchObject([{ delivered: 2, failed: 1, unsent: 0, lost: [1] }]);
  });

  it("goes on in a lane past a failure, in order", async () => {
    const world = new World(() => new Response(null, { status: 500 }));
    await dispatched(world, { messages: several(4, "a") });
    expect(ids(world)).toEqual(["m0", "m1", "m2", "m3"]);
  });

  it("sends all it has, however slow the endpoint is", async () => {
    const push = { timeoutMs: 30 * second };
    const count = dispatchMessages({
      ...defaultSubscriptionSettings,
      ...settings,
      push: { ...{ url: "", headers: {}, batchMaxMessages: 1, batchMaxWaitMs: 0, secrets: [] }, ...push },
    });
    const world: World = new World(async () => {
      await world.sleep(push.timeoutMs + second);
      return new Response();
    });
    const start = world.now;
    await dispatched(world, { messages: several(count), push });
    expect(ids(world)).toHaveLength(count);
    // Without lanes it needs no more than a dispatch's time; a lane is one request at a time.
    expect(world.now - start).toBeLessThanOrEqual(limits.dispatchMs);
  });

  it("sends nothing more to an endpoint that is gone, and tells the subscription", async () => {
    const world = new World(() => new Response(null, { status: 410 }));
    await dispatched(world, { messages: several(3, "a") });
    expect(ids(world)).toEqual(["m0"]);
    expect(world.reports).toMatchObject([{ outcomes: expect.anything(), done: true, endpointGone: true }]);
    expect(world.lines).toMatchObject([{ failed: 1, unsent: 2, lost: [0, 1, 2] }]);
  });

  it("claims nothing, should the guarantee have changed since it was leased", async () => {
    const world = new World();
    const call = world.callOf({ messages: several(1), settings: { guarantee: "effectively-once" } });
    world.ledgerAway = () => true;
    const running = world.start({ ...call, lease: { ...call.lease, settled: true } });
    await world.drive(() => running.ended);
    expect(ids(world)).toEqual(["m0"]);
  });

  it("that crashes anywhere has sent nothing twice", async () => {
    for (const side of ["before", "after"] as const) {
      for (let call = 1; call <= 3; call++) {
        const world = new World();
        await dispatched(world, { messages: several(3, "a") }, new Isolate({ call, side }));
        expect(ids(world)).toEqual(["m0", "m1", "m2"].slice(0, side === "after" ? call : call - 1));
      }
    }
  });
});
