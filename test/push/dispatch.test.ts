// One dispatch, from its lease to its last report, under virtual time.
import { describe, expect, it } from "vitest";
import { ok, refuse } from "../../src/errors";
import { limits } from "../../src/limits";
import { World } from "./dispatch-world";

const second = 1_000;
const text = (body: Uint8Array) => new TextDecoder().decode(body);
const keyed = (...keys: string[]) => keys.map((orderingKey) => ({ orderingKey }));
const several = (count: number) => Array.from({ length: count }, () => ({}));
const slow =
  (ms: number, world: () => World, status = 200) =>
  async () => {
    await world().sleep(ms);
    return new Response(null, { status });
  };

describe("a dispatch", () => {
  it("sends each message once and reports it delivered after the 2xx, in one last report", async () => {
    const world = new World();
    await world.dispatch({ messages: several(3), leaseId: "lease-1" });
    expect(world.sent.map(({ id, body }) => [id, text(body)])).toEqual([
      ["m0", '{"n":0}'],
      ["m1", '{"n":1}'],
      ["m2", '{"n":2}'],
    ]);
    expect(world.reports).toMatchObject([
      {
        leaseId: "lease-1",
        done: true,
        outcomes: [
          { offset: 0, result: "delivered" },
          { offset: 1, result: "delivered" },
          { offset: 2, result: "delivered" },
        ],
      },
    ]);
  });

  it("never has more requests under way than an invocation has connections", async () => {
    const world: World = new World(slow(second, () => world));
    await world.dispatch({ messages: several(20) });
    expect(world.mostUnderWay).toBe(limits.dispatchConnections);
    expect(world.sent).toHaveLength(20);
  });

  it("sends a lane one by one in order, beside the others", async () => {
    const world: World = new World(slow(second, () => world));
    await world.dispatch({ messages: keyed("a", "a", "b", "a") });
    const start = world.sent[0]?.at ?? 0;
    expect(world.sent.map(({ id, at }) => [id, at - start])).toEqual([
      ["m0", 0],
      ["m2", 0],
      ["m1", second],
      ["m3", 2 * second],
    ]);
  });

  it("gives back the rest of a lane behind its first failure, and goes on with other lanes", async () => {
    const world = new World(({ id }) => new Response("no", { status: id === "m1" ? 500 : 200 }));
    await world.dispatch({ messages: [...keyed("a", "a", "b", "a", "b"), {}] });
    expect(world.results).toEqual([
      [0, "delivered"],
      [1, "failed"],
      [2, "delivered"],
      [3, "unsent"],
      [4, "delivered"],
      [5, "delivered"],
    ]);
    expect(world.sent.map(({ id }) => id)).not.toContain("m3");
    expect(world.outcomes.get(3)).toMatchObject({
      delayMs: 0,
      reason: "behind a failed delivery of its ordering key",
    });
  });

  it("logs one line, without bodies, secrets or the URL", async () => {
    const world = new World(({ id }) => new Response(null, { status: id === "m1" ? 500 : 200 }));
    await world.dispatch({ messages: [...keyed("a", "a", "a")], leaseId: "l" });
    expect(world.lines).toEqual([
      {
        event: "dispatch",
        topic: "orders",
        subscription: "billing",
        partition: 0,
        leaseId: "l",
        count: 3,
        delivered: 1,
        failed: 1,
        unsent: 1,
        ms: 0,
      },
    ]);
  });
});

describe("reports", () => {
  it("come every few seconds with the outcomes so far and extend the lease", async () => {
    const world: World = new World(async ({ id }) => {
      await world.sleep(id === "m0" ? second : 12 * second);
      return new Response(null, { status: 200 });
    });
    await world.dispatch({ messages: several(2), settings: { ackDeadlineMs: 60 * second } });
    const start = world.sent[0]?.at ?? 0;
    expect(
      world.reports.map(({ at, done, extendMs, outcomes }) => [at - start, done, extendMs, outcomes.length]),
    ).toEqual([
      [5 * second, false, 60 * second, 1],
      [10 * second, false, 60 * second, 0],
      [12 * second, true, undefined, 1],
    ]);
  });

  it("come three times within a short ack deadline, so that the lease never ends under a slow endpoint", async () => {
    const world: World = new World(slow(20 * second, () => world));
    await world.dispatch({ messages: several(1), settings: { ackDeadlineMs: 3 * second } });
    const gaps = world.reports.map(({ at }, index) => at - (world.reports[index - 1]?.at ?? at));
    expect(Math.max(...gaps)).toBeLessThanOrEqual(second);
    expect(world.results).toEqual([[0, "delivered"]]);
  });

  it("that fault are repeated, and lose nothing", async () => {
    let faults = 3;
    const world = new World();
    world.answerReport = () => (faults-- > 0 ? new Error("Network connection lost") : ok(null));
    await world.dispatch({ messages: several(2) });
    expect(world.results).toEqual([
      [0, "delivered"],
      [1, "delivered"],
    ]);
  });

  it("that never get through are given up, and the dispatch ends without a throw", async () => {
    const world = new World();
    world.answerReport = () => new Error("Network connection lost");
    await world.dispatch({ messages: several(1) });
    expect(world.lines).toMatchObject([{ delivered: 1 }]);
  });

  it("keep the outcomes of one that failed for the next", async () => {
    let faults = limits.reportTries;
    const world: World = new World(async ({ id }) => {
      await world.sleep(id === "m0" ? second : 12 * second);
      return new Response(null, { status: 200 });
    });
    world.answerReport = () => (faults-- > 0 ? new Error("Network connection lost") : ok(null));
    await world.dispatch({ messages: several(2) });
    expect(world.reports[0]?.outcomes).toMatchObject([{ offset: 0, result: "delivered" }]);
    expect(world.reports[0]?.done).toBe(false);
  });

  it("stop the sending when the lease is lost, and still tell what was delivered by then", async () => {
    const world: World = new World(slow(12 * second, () => world));
    world.answerReport = ({ done }) => (done ? ok(null) : refuse("lease-lost", "lost"));
    await world.dispatch({ messages: several(10) });
    expect(world.sent).toHaveLength(limits.dispatchConnections);
    const last = world.reports.at(-1);
    expect(last?.done).toBe(true);
    expect(last?.outcomes.filter(({ result }) => result === "delivered")).toHaveLength(6);
    expect(last?.outcomes.filter(({ result }) => result === "unsent")).toHaveLength(4);
    expect(world.reports.filter(({ done }) => !done)).toHaveLength(1);
  });

  it("that stay away stop the sending before the lease may be another's", async () => {
    const world: World = new World(slow(4 * second, () => world));
    world.answerReport = () => new Error("Network connection lost");
    const start = world.now;
    await world.dispatch({ messages: several(60), settings: { ackDeadlineMs: 10 * second } });
    for (const { at } of world.sent) expect(at).toBeLessThan(start + 10 * second);
    expect(world.sent.length).toBeLessThan(60);
  });
});

describe("the time of a dispatch", () => {
  it("is bounded: what was not sent by then is given back at once", async () => {
    const world: World = new World(slow(60 * second, () => world));
    await world.dispatch({ messages: several(100), push: { timeoutMs: limits.maxTimeoutMs } });
    expect(world.sent).toHaveLength(30);
    expect(world.outcomes.get(99)).toEqual({
      offset: 99,
      result: "unsent",
      delayMs: 0,
      reason: "the dispatch ran out of time",
    });
    expect(world.results).toHaveLength(100);
  });
});

describe("an attempt", () => {
  const attempt = async (endpoint: ConstructorParameters<typeof World>[0], push = {}) => {
    const world = new World(endpoint);
    await world.dispatch({ messages: several(1), push });
    return world.outcomes.get(0);
  };

  it.each([200, 201, 202, 204, 299])("succeeds with %i", async (status) => {
    expect(await attempt(() => new Response(null, { status }))).toMatchObject({ result: "delivered" });
  });

  it.each([300, 301, 304, 307, 400, 401, 404, 409, 429, 500, 503])("fails with %i", async (status) => {
    const outcome = await attempt(
      () => new Response(null, { status, headers: { location: "https://x.example/" } }),
    );
    expect(outcome).toMatchObject({ result: "failed", note: { status } });
  });

  it("never follows a redirect: it could lead where no endpoint may be", async () => {
    const world = new World(
      () => new Response(null, { status: 302, headers: { location: "https://10.0.0.1/" } }),
    );
    await world.dispatch({ messages: several(1) });
    expect(world.sent.map(({ redirect }) => redirect)).toEqual(["manual"]);
    expect(world.outcomes.get(0)).toMatchObject({ note: { error: "redirects are not followed" } });
  });

  it("keeps the beginning of what the endpoint answered, and how long it took", async () => {
    const world: World = new World(async () => {
      await world.sleep(250);
      return new Response("no such account ".repeat(100), { status: 422 });
    });
    const startsAt = world.now;
    await world.dispatch({ messages: several(1) });
    expect(world.outcomes.get(0)).toMatchObject({
      note: {
        at: startsAt,
        status: 422,
        latencyMs: 250,
        error: "no such account ".repeat(100).slice(0, limits.responseKeptLength),
      },
    });
  });

  it("reads only so much of an endless body, and cancels the rest", async () => {
    let pulled = 0;
    let cancelled = false;
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        pulled += 1;
        controller.enqueue(new Uint8Array(1024).fill(97));
      },
      cancel() {
        cancelled = true;
      },
    });
    const outcome = await attempt(() => new Response(body, { status: 500 }));
    expect(outcome).toMatchObject({ note: { error: "a".repeat(limits.responseKeptLength) } });
    expect(cancelled).toBe(true);
    expect(pulled * 1024).toBeLessThan(2 * limits.responseBytes);
  });

  it("fails when no answer comes in time, and the request is aborted", async () => {
    let signal: AbortSignal | undefined;
    const outcome = await attempt(
      (posted) => {
        signal = posted.signal;
        return new Promise(() => undefined);
      },
      { timeoutMs: 3 * second },
    );
    expect(signal?.aborted).toBe(true);
    expect(outcome).toMatchObject({
      result: "failed",
      note: { error: "no answer within 3000 ms", latencyMs: 3 * second },
    });
  });

  it("fails when the connection is refused, which looks like a broken stub", async () => {
    const outcome = await attempt(() => {
      throw Object.assign(new Error("Network connection lost."), { retryable: true, remote: true });
    });
    expect(outcome).toMatchObject({
      result: "failed",
      note: { error: "no answer: Network connection lost." },
    });
  });

  it("never quotes the URL in what it keeps: its query may hold a secret", async () => {
    const outcome = await attempt(({ url }) => {
      throw new TypeError(`Fetch API cannot load: ${url}`);
    });
    expect(outcome).toMatchObject({ note: { error: "the request could not be made" } });
  });

  it("is signed with its own time", async () => {
    const world: World = new World(slow(1_700, () => world));
    await world.dispatch({ messages: keyed("a", "a") });
    const [first, next] = world.sent.map(({ headers }) => Number(headers.get("webhook-timestamp")));
    expect((next ?? 0) - (first ?? 0)).toBe(1);
  });

  it("tells the endpoint which it is", async () => {
    const world = new World();
    await world.dispatch({ messages: [{ id: "evt_1" }], attempt: 4, firstOffset: 17 });
    const headers = Object.fromEntries(world.sent[0]?.headers ?? []);
    expect(headers).toMatchObject({
      "webhook-id": "evt_1",
      "pennypost-attempt": "4",
      "pennypost-offset": "17",
    });
  });
});

describe("Retry-After", () => {
  const ask = async (value: string, status = 429) => {
    const world = new World(() => new Response(null, { status, headers: { "retry-after": value } }));
    const retry = { maxAttempts: 5, minDelayMs: 2 * second, maxDelayMs: 10 * second };
    await world.dispatch({ messages: several(1), settings: { retry } });
    return world.outcomes.get(0);
  };

  it("is passed on with any failure", async () => {
    expect(await ask("30")).toMatchObject({ retryAfterMs: 30 * second });
    expect(await ask("30", 503)).toMatchObject({ retryAfterMs: 30 * second });
  });

  it("is never less than the subscription's own least delay, nor more than the limit", async () => {
    expect(await ask("0")).toMatchObject({ retryAfterMs: 2 * second });
    expect(await ask("99999999")).toMatchObject({ retryAfterMs: limits.maxRetryAfterMs });
  });

  it("is left out when it makes no sense", async () => {
    expect(await ask("soon")).not.toHaveProperty("retryAfterMs");
  });
});

describe("an endpoint that fails", () => {
  it("is sent no more after ten requests in a row, and the rest goes back unsent", async () => {
    const world = new World(() => new Response("no", { status: 502 }));
    await world.dispatch({ messages: several(60) });
    expect(world.sent.length).toBeGreaterThanOrEqual(limits.tripRequests);
    expect(world.sent.length).toBeLessThan(limits.tripRequests + limits.dispatchConnections);
    expect(world.outcomes.get(59)).toMatchObject({ result: "unsent", reason: "the endpoint fails" });
    expect(world.reports.at(-1)?.signs).toMatchObject({ worked: 0, failing: world.sent.length });
  });

  it("that asks for a pause is sent no more at once", async () => {
    const world = new World(() => new Response(null, { status: 429, headers: { "retry-after": "60" } }));
    await world.dispatch({ messages: several(60) });
    expect(world.sent.length).toBeLessThanOrEqual(limits.dispatchConnections);
    const pausedUntil = world.reports.at(-1)?.signs?.pausedUntil ?? 0;
    expect(pausedUntil).toBe(world.now + 60 * second);
  });

  it("is not stopped for by refusals that speak of their messages", async () => {
    const world = new World(() => new Response(null, { status: 422 }));
    await world.dispatch({ messages: several(60) });
    expect(world.sent).toHaveLength(60);
    expect(world.reports.at(-1)?.signs).toMatchObject({ worked: 60, ailed: 0 });
  });

  it("of which the subscription says to stop is sent no more", async () => {
    const world: World = new World(slow(second, () => world));
    world.answerReport = () => ok({ stop: "the endpoint is left alone" });
    await world.dispatch({ messages: several(100) });
    expect(world.sent.length).toBeLessThan(60);
    expect(world.outcomes.get(99)).toMatchObject({ result: "unsent", reason: "the endpoint is left alone" });
  });
});

describe("a paced dispatch", () => {
  it("spaces its requests evenly, and tells when the next may go", async () => {
    const world = new World();
    const start = world.now;
    const pace = { perSecond: 2, nextSendAt: start + 1_000 };
    await world.dispatch({ messages: several(5), sending: { connections: 6, stopAfter: 10, pace } });
    expect(world.sent.map(({ at }) => at - start)).toEqual([1_000, 1_500, 2_000, 2_500, 3_000]);
    expect(world.reports.at(-1)?.signs?.nextSendAt).toBe(start + 3_500);
  });
});

describe("410 Gone", () => {
  it("stops the sending, fails that attempt, gives back the rest and says so once", async () => {
    const world = new World(({ id }) => new Response(null, { status: id === "m0" ? 410 : 200 }));
    await world.dispatch({ messages: [...keyed("a", "a"), ...several(20)] });
    expect(world.sent.length).toBeLessThanOrEqual(limits.dispatchConnections);
    expect(world.outcomes.get(0)).toMatchObject({ result: "failed", note: { status: 410 } });
    expect(world.outcomes.get(21)).toMatchObject({ result: "unsent", reason: "the endpoint is gone" });
    expect(world.reports.at(-1)).toMatchObject({ done: true, endpointGone: true });
    expect(world.gone).toBe(1);
  });
});

describe("settings that cannot work", () => {
  it("fail every delivery with the reason, and nothing is sent", async () => {
    const world = new World();
    await world.dispatch({ messages: [...keyed("a", "a"), {}], push: { url: "https://10.0.0.1/" } });
    expect(world.sent).toEqual([]);
    expect(world.results).toEqual([
      [0, "failed"],
      [1, "unsent"],
      [2, "failed"],
    ]);
    expect(world.outcomes.get(0)).toMatchObject({ note: { error: expect.stringContaining("IP address") } });
  });

  it("include an endpoint that is the broker itself", async () => {
    const world = new World();
    await world.dispatch({ messages: several(1), push: { url: "https://broker.example.com/v1/in/x" } });
    expect(world.sent).toEqual([]);
    expect(world.outcomes.get(0)).toMatchObject({
      note: { error: expect.stringContaining("broker itself") },
    });
  });

  it("include a secret that is not base64, which is not quoted", async () => {
    const world = new World();
    await world.dispatch({ messages: several(1), push: { secrets: ["whsec_hunter2 !"] } });
    expect(world.sent).toEqual([]);
    expect(JSON.stringify(world.reports)).toContain("is not base64");
    expect(JSON.stringify(world.reports)).not.toContain("hunter2");
  });
});

describe("a batch endpoint", () => {
  const push = { batchMaxMessages: 4 };

  it("gets up to so many messages in one request, which a 2xx acknowledges together", async () => {
    const world = new World();
    await world.dispatch({ messages: several(10), push });
    expect(world.sent.map(({ body }) => JSON.parse(text(body)).messages.length)).toEqual([4, 4, 2]);
    expect(world.results.every(([, result]) => result === "delivered")).toBe(true);
  });

  it("gets the JSON of a batch even for one message", async () => {
    const world = new World();
    await world.dispatch({ messages: several(1), push });
    expect(JSON.parse(text(world.sent[0]?.body ?? new Uint8Array())).messages).toHaveLength(1);
  });

  it("fails all messages of a request that fails", async () => {
    const world = new World(() => new Response(null, { status: 500 }));
    await world.dispatch({ messages: several(3), push });
    expect(world.results).toEqual([
      [0, "failed"],
      [1, "failed"],
      [2, "failed"],
    ]);
  });

  it("keeps each lane in order, within a request and from one to the next", async () => {
    const world: World = new World(slow(second, () => world));
    await world.dispatch({ messages: keyed("a", "a", "a", "a", "a", "b", "a"), push });
    const offsets = world.sent.map(({ body }) =>
      JSON.parse(text(body)).messages.map(({ offset }: { offset: number }) => offset),
    );
    expect(offsets).toEqual([[0, 1, 2, 3], [5], [4, 6]]);
  });

  it("may name what it could not process: that is retried, the rest is done", async () => {
    const failed = [{ id: "m1", reason: "no stock" }];
    const world = new World(() => Response.json({ failed }));
    await world.dispatch({ messages: several(3), push });
    expect(world.results).toEqual([
      [0, "delivered"],
      [1, "failed"],
      [2, "delivered"],
    ]);
    expect(world.outcomes.get(1)).toMatchObject({ note: { status: 200, error: "no stock" } });
  });

  it("acknowledges nothing with an answer that cannot be understood", async () => {
    const world = new World(
      () => new Response('{"failed":', { headers: { "content-type": "application/json" } }),
    );
    await world.dispatch({ messages: several(2), push });
    expect(world.results).toEqual([
      [0, "failed"],
      [1, "failed"],
    ]);
  });
});
