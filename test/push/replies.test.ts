// What a dispatch makes of an endpoint's answer to a request: kept as its reply before the delivery is settled.

import { describe, expect, it } from "vitest";
import { limits } from "../../src/limits";
import { replyToText } from "../../src/reply-calls";
import { World } from "./dispatch-world";

const to = { generation: "g", id: "m0", secret: "0123456789abcdefABCD_-" };
const request = { replyTo: replyToText(to) };
const text = (body: Uint8Array | undefined) => new TextDecoder().decode(body);

/** One dispatch of `message` to an endpoint that answers so. */
async function dispatched(answer: () => Response, message: object = request, asked: object = {}) {
  const world = new World(answer);
  await world.dispatch({ messages: [message], leaseId: "lease", attempt: 2, ...asked });
  return world;
}

describe("a request that is pushed", () => {
  it("tells its endpoint where a reply goes, and keeps what it answers", async () => {
    const world = await dispatched(() => Response.json({ price: 3 }, { status: 201 }));
    expect(world.sent[0]?.headers.get("pennypost-reply-to")).toBe(request.replyTo);
    expect(world.replies).toMatchObject([
      {
        ...{ to, subscription: "billing", attempt: 2, status: 201, contentType: "application/json" },
        delivery: { partition: 0, offset: 0, leaseId: "lease" },
      },
    ]);
    expect(text(world.replies[0]?.body)).toBe('{"price":3}');
    expect(world.results).toEqual([[0, "delivered"]]);
  });

  it("has its reply before the subscription hears that it was delivered", async () => {
    const world = new World(() => new Response("yes"));
    const repliesAtReport: number[] = [];
    world.answerReport = () => {
      repliesAtReport.push(world.replies.length);
      return { ok: true, value: null };
    };
    await world.dispatch({ messages: [request] });
    expect(repliesAtReport).toEqual([1]);
  });

  it.each([
    ["202", () => new Response("working on it", { status: 202 })],
    ["204", () => new Response(null, { status: 204 })],
    ["an empty body", () => new Response("")],
    ["Pennypost-Reply: none", () => new Response("ok", { headers: { "pennypost-reply": "none" } })],
  ])("is delivered and not replied to by %s", async (_, answer) => {
    const world = await dispatched(answer);
    expect(world.replies).toEqual([]);
    expect(world.results).toEqual([[0, "delivered"]]);
  });

  it("has no reply in an answer that is no success, nor has a message that is no request", async () => {
    const failed = await dispatched(() => new Response("no", { status: 500 }));
    expect([failed.replies, failed.results]).toEqual([[], [[0, "failed"]]]);
    const plain = await dispatched(() => new Response("thanks"), {});
    expect([plain.replies, plain.results]).toEqual([[], [[0, "delivered"]]]);
    expect(plain.sent[0]?.headers.get("pennypost-reply-to")).toBeNull();
  });

  it("is replied to in full up to the limit, and past it the reply says that it was too large", async () => {
    const full = await dispatched(() => new Response("x".repeat(limits.replyBytes)));
    expect(full.replies[0]?.body.byteLength).toBe(limits.replyBytes);
    expect(full.replies[0]?.tooLarge).toBeUndefined();
    const more = await dispatched(() => new Response("x".repeat(limits.replyBytes + 1)));
    expect(more.replies).toMatchObject([{ tooLarge: true, body: new Uint8Array() }]);
    expect(more.results).toEqual([[0, "delivered"]]);
  });

  it("is sent again when its reply broke off", async () => {
    const broken = () => {
      let reads = 0;
      const body = new ReadableStream({
        pull: (controller) => {
          reads += 1;
          if (reads > 1) controller.error(new Error("cut"));
          else controller.enqueue(new TextEncoder().encode("half"));
        },
      });
      return new Response(body);
    };
    const world = await dispatched(broken);
    expect(world.replies).toEqual([]);
    expect(world.outcomes.get(0)).toMatchObject({ result: "failed", note: { error: "its reply broke off" } });
  });

  it("is tried a few times to be replied to, and sent again when its reply cannot be stored", async () => {
    const passing = new World(() => new Response("yes"));
    passing.repliesAway = (tries) => tries < 3;
    await passing.dispatch({ messages: [request] });
    expect([passing.replies.length, passing.results]).toEqual([1, [[0, "delivered"]]]);
    const away = new World(() => new Response("yes"));
    away.repliesAway = () => true;
    await away.dispatch({ messages: [request], settings: { guarantee: "effectively-once" } });
    expect(away.outcomes.get(0)).toMatchObject({
      ...{ result: "failed", note: { status: 200, error: "its reply could not be stored" } },
    });
    // Nothing was completed, and the endpoint is not held to blame.
    expect(away.reports.at(-1)?.signs).toMatchObject({ failing: 0 });
    const next = new World(() => new Response("yes"), away.now);
    await next.dispatch({
      ...{ messages: [request], generation: away.generation, settings: { guarantee: "effectively-once" } },
    });
    expect([next.sent.length, next.replies.length]).toEqual([1, 1]);
  });

  it("in a batch, says in the body where its reply goes, and the batch's answer is none", async () => {
    const world = await dispatched(() => Response.json({ failed: [] }), request, {
      push: { batchMaxMessages: 10 },
    });
    expect(JSON.parse(text(world.sent[0]?.body)).messages).toMatchObject([
      { id: "m0", replyTo: request.replyTo },
    ]);
    expect([world.replies, world.results]).toEqual([[], [[0, "delivered"]]]);
  });
});
