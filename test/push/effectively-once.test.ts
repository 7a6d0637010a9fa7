// Effectively-once push (docs/delivery-contract.md, clause 14), over the real ledger: whatever crashes where.
import { describe, expect, it } from "vitest";
import { pushNamespace } from "../../src/ledger/claim";
import { limits } from "../../src/limits";
import { defaultSubscriptionSettings } from "../../src/settings";
import { dispatchMessages } from "../../src/subscription/push-pump";
import { type Asked, World } from "./dispatch-world";

const settings = { guarantee: "effectively-once" } as const;
const one: Asked = { messages: [{}], settings };
const leaseMs = 30_000 + 2 * limits.claimMarginMs;
const ids = (world: World) => world.sent.map(({ id }) => id);

/** Reads the ledger as another claimant would. */
async function stateOf(world: World, ...messageIds: string[]) {
  const messages = messageIds.map((messageId) => ({ messageId }));
  const namespace = pushNamespace(world.generation, 0);
  const answers = await world.ledger().claim({ namespace, messages, claimant: "observer", leaseMs: 1_000 });
  return answers.map(({ state }) => state);
}

describe("a message under effectively-once", () => {
  it("is sent once and completed before it is reported", async () => {
    const world = new World();
    const states: string[] = [];
    world.answerReport = () => {
      states.push("reported");
      return { ok: true, value: null };
    };
    await world.dispatch(one);
    expect(await stateOf(world, "0:m0")).toEqual(["completed"]);
    expect(world.results).toEqual([[0, "delivered"]]);
    expect(states).toEqual(["reported"]);
  });

  it("is never sent again once it is completed, whoever leases it", async () => {
    const world = new World();
    await world.dispatch(one);
    await world.dispatch(one);
    expect(ids(world)).toEqual(["m0"]);
    expect(world.reports.map(({ outcomes }) => outcomes)).toEqual([
      [{ offset: 0, result: "delivered", status: 204 }],
      [{ offset: 0, result: "delivered" }],
    ]);
  });

  it("is one of two when its id stands at two offsets", async () => {
    const world = new World();
    const messages = [
      { id: "same", orderingKey: "a" },
      { id: "same", orderingKey: "b" },
    ];
    await world.dispatch({ messages, settings });
    expect(ids(world)).toEqual(["same", "same"]);
    expect(world.results).toEqual([
      [0, "delivered"],
      [1, "delivered"],
    ]);
  });

  it("may be claimed again as soon as its attempt has failed", async () => {
    let status = 500;
    const world = new World(() => new Response(null, { status }));
    await world.dispatch(one);
    status = 200;
    await world.dispatch(one);
    expect(ids(world)).toEqual(["m0", "m0"]);
    expect(world.results).toEqual([[0, "delivered"]]);
  });

  it("may be claimed again at once when it was claimed and not sent", async () => {
    const world = new World(() => new Response(null, { status: 500 }));
    await world.dispatch({ messages: [{ orderingKey: "a" }, { orderingKey: "a" }], settings });
    expect(world.results).toEqual([
      [0, "failed"],
      [1, "unsent"],
    ]);
    expect(await stateOf(world, "0:m0", "1:m1")).toEqual(["claimed", "claimed"]);
  });
});

describe("when another dispatch holds the claim", () => {
  it("the delivery waits until that lease ends, un-attempted, with its lane; other lanes go on", async () => {
    const world = new World();
    const namespace = pushNamespace(world.generation, 0);
    const messages = [{ messageId: "0:m0" }];
    await world.ledger().claim({ namespace, messages, claimant: "another", leaseMs: 45_000 });
    await world.dispatch({
      messages: [{ orderingKey: "a" }, { orderingKey: "a" }, { orderingKey: "b" }],
      settings,
    });
    expect(ids(world)).toEqual(["m2"]);
    expect(world.outcomes.get(0)).toMatchObject({ result: "unsent", delayMs: 45_000 });
    expect(world.outcomes.get(1)).toMatchObject({ result: "unsent", delayMs: 0 });
    expect(await stateOf(world, "1:m1")).toEqual(["claimed"]);
  });
});

describe("when the ledger is away", () => {
  it("nothing is sent unclaimed: all is given back for a while", async () => {
    const world = new World();
    world.ledgerAway = () => true;
    await world.dispatch({ messages: [{}, { orderingKey: "a" }, { orderingKey: "a" }], settings });
    expect(world.sent).toEqual([]);
    expect([...world.outcomes.values()]).toMatchObject([
      { result: "unsent", delayMs: limits.ledgerAwayMs, reason: "the ledger is away" },
      { result: "unsent", delayMs: limits.ledgerAwayMs },
      { result: "unsent", delayMs: limits.ledgerAwayMs },
    ]);
  });

  it("after a 2xx, nothing is reported delivered until it is completed", async () => {
    const world: World = new World(async ({ id }) => {
      await world.sleep(id === "m0" ? 1_000 : 8_000);
      return new Response();
    });
    const start = world.now;
    world.ledgerAway = (method) => method === "complete" && world.now < start + 7_000;
    await world.dispatch({ messages: [{}, {}], settings });
    expect(world.reports.map(({ at, outcomes }) => [at - start, outcomes.length])).toEqual([
      [5_000, 0],
      [8_000, 2],
    ]);
    expect(await stateOf(world, "0:m0", "1:m1")).toEqual(["completed", "completed"]);
  });

  it("to the end, what the endpoint acknowledged is still settled rather than sent again", async () => {
    const world = new World();
    world.ledgerAway = (method) => method === "complete";
    await world.dispatch(one);
    expect(world.results).toEqual([[0, "delivered"]]);
  });
});

describe("a long dispatch", () => {
  it("extends its claims before they end under a request", async () => {
    const world: World = new World(async () => {
      await world.sleep(25_000);
      return new Response();
    });
    let stolen = 0;
    world.answerReport = () => {
      // Another dispatch tries to claim what is not sent yet, each time this one reports.
      void stateOf(world, "0:m0", "30:m30").then((states) => {
        stolen += states.filter((state) => state === "claimed").length;
      });
      return { ok: true, value: null };
    };
    await world.dispatch({ messages: Array.from({ length: 31 }, () => ({})), settings });
    expect(ids(world)).toHaveLength(31);
    expect(new Set(ids(world)).size).toBe(31);
    expect(stolen).toBe(0);
  });

  it("does not send what another has claimed meanwhile", async () => {
    const world: World = new World(async ({ id }) => {
      if (id === "m0") {
        await world.sleep(29_000);
        // This isolate hung so long that the claims of all that waits have ended.
        world.now += leaseMs;
        await stateOf(world, "1:m1");
      }
      return new Response();
    });
    const messages = [{ orderingKey: "a" }, { orderingKey: "a" }];
    await world.dispatch({ messages, settings: { ...settings, ackDeadlineMs: 10 * leaseMs } });
    expect(ids(world)).toEqual(["m0"]);
    expect(world.results).toEqual([
      [0, "delivered"],
      [1, "unsent"],
    ]);
  });
});

describe("a crash", () => {
  it("after the claim: the same lease goes on at once, another waits until the claim ends, and nothing is lost", async () => {
    const world = new World();
    world.diesAfter = "claim";
    await world.dispatch({ ...one, leaseId: "lease-1" });
    expect([world.sent, world.reports]).toEqual([[], []]);

    world.diesAfter = undefined;
    world.now += 10_000;
    await world.dispatch({ ...one, leaseId: "lease-2" });
    expect(world.sent).toEqual([]);
    expect(world.outcomes.get(0)).toMatchObject({ result: "unsent", delayMs: leaseMs - 10_000 });

    await world.dispatch({ ...one, leaseId: "lease-1" });
    expect(ids(world)).toEqual(["m0"]);
    expect(world.results).toEqual([[0, "delivered"]]);
  });

  it("between the 2xx and its completion: it is sent again with the same webhook-id, once the claim has ended", async () => {
    const world = new World();
    world.diesBefore = "complete";
    await world.dispatch({ ...one, leaseId: "lease-1" });
    expect(ids(world)).toEqual(["m0"]);
    expect(world.reports).toEqual([]);

    world.diesBefore = undefined;
    world.now += 60_000;
    await world.dispatch({ ...one, leaseId: "lease-2" });
    expect(ids(world)).toEqual(["m0"]);
    const waits = world.outcomes.get(0);
    expect(waits).toMatchObject({ result: "unsent", delayMs: leaseMs - 60_000 });

    world.now += leaseMs - 60_000;
    await world.dispatch({ ...one, leaseId: "lease-3" });
    expect(ids(world)).toEqual(["m0", "m0"]);
    expect(world.results).toEqual([[0, "delivered"]]);
  });

  it("between the completion and the report: it is settled without being sent again", async () => {
    const world = new World();
    world.answerReport = () => new Error("Network connection lost");
    await world.dispatch({ ...one, leaseId: "lease-1" });
    expect(world.reports).toEqual([]);
    world.answerReport = () => ({ ok: true, value: null });
    await world.dispatch({ ...one, leaseId: "lease-2" });
    expect(ids(world)).toEqual(["m0"]);
    expect(world.results).toEqual([[0, "delivered"]]);
  });
});

describe("a batch endpoint under effectively-once", () => {
  it("is not sent again what it acknowledged behind a failure in its lane", async () => {
    let failed: { id: string }[] = [{ id: "m0" }];
    const world = new World(() => Response.json({ failed }));
    const asked: Asked = {
      messages: [{ orderingKey: "a" }, { orderingKey: "a" }],
      push: { batchMaxMessages: 10 },
      settings,
    };
    await world.dispatch(asked);
    expect(world.results).toEqual([
      [0, "failed"],
      [1, "unsent"],
    ]);
    failed = [];
    await world.dispatch(asked);
    const bodies = world.sent.map(({ body }) => JSON.parse(new TextDecoder().decode(body)).messages);
    expect(bodies.map((messages) => messages.map(({ id }: { id: string }) => id))).toEqual([
      ["m0", "m1"],
      ["m0"],
    ]);
    expect(world.results).toEqual([
      [0, "delivered"],
      [1, "delivered"],
    ]);
  });
});

describe("what the ledger remembers", () => {
  const year = 365 * 24 * 60 * 60_000;
  const rememberedMs = async (world: World) => {
    await world.dispatch(one);
    const row = await world.peek(pushNamespace(world.generation, 0), "0:m0");
    return (row?.retainUntil ?? 0) - world.now;
  };

  it("outlives the last redelivery: the topic's retention, and what is retried after", async () => {
    const world = new World();
    world.topicRetentionMs = year;
    expect(await rememberedMs(world)).toBeGreaterThan(year);
    expect(await rememberedMs(new World())).toBe(limits.ledgerRetentionMs);
  });

  it("outlives the longest retention while nobody can tell the topic's", async () => {
    const world = new World();
    world.topicRetentionMs = undefined;
    expect(await rememberedMs(world)).toBeGreaterThan(year);
  });
});

it("a lease is claimed in one call of the ledger", () => {
  const once = { ...defaultSubscriptionSettings, guarantee: "effectively-once" } as const;
  expect(dispatchMessages(once)).toBeLessThanOrEqual(limits.claimsPerCall);
});
