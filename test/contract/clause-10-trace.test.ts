// Clause 10: every attempt is a span of its own in the trace of the publish.

import { describe, expect, test } from "vitest";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();
const TRACE_ID = "0af7651916cd43dd8448eb211c80319c";
const PARENT = `00-${TRACE_ID}-b7ad6b7169203331-01`;
const TRACE = { traceparent: PARENT, tracestate: "vendor=1,other=2" };
const NOW = { minDelayMs: 0, maxDelayMs: 0 };

describe("clause 10, the trace", () => {
  test("clause 10: each attempt carries the publish's trace on under a span of its own", async () => {
    const [topic, receiver] = [await broker.topic(), await broker.receiver()];
    await topic.subscribe({ type: "push", endpoint: { url: receiver.url }, retry: NOW });
    const pulling = await topic.subscribe();
    receiver.answer((_, index) => ({ status: index < 2 ? 500 : 204 }));
    await topic.publishRaw("x", { ...TRACE, prefer: "wait" });
    const hooks = await receiver.first(3);
    const parents = hooks.map(({ headers }) => headers.get("traceparent") ?? "");
    for (const each of parents) expect(each).toMatch(new RegExp(`^00-${TRACE_ID}-[0-9a-f]{16}-01$`));
    expect(new Set([...parents, PARENT]).size).toBe(4);
    expect(hooks.map(({ headers }) => headers.get("tracestate"))).toEqual(Array(3).fill(TRACE.tracestate));
    expect(await pulling.pullAll(1)).toMatchObject([TRACE]);
  });

  test("clause 10: an invalid trace is none, and the message is delivered all the same", async () => {
    const [topic, receiver] = [await broker.topic(), await broker.receiver()];
    await topic.subscribe({ type: "push", endpoint: { url: receiver.url } });
    const traceparent = `00-${"0".repeat(32)}-b7ad6b7169203331-01`;
    await topic.publishRaw("x", { ...TRACE, traceparent, prefer: "wait" });
    const [hook] = await receiver.first(1);
    expect([hook?.text, hook?.headers.has("traceparent"), hook?.headers.has("tracestate")]).toEqual([
      "x",
      false,
      false,
    ]);
  });

  test("clause 10: in a batch each message has its own trace, and its own span", async () => {
    const [topic, receiver] = [await broker.topic(), await broker.receiver()];
    const endpoint = { url: receiver.url };
    await topic.subscribe({ type: "push", endpoint, batch: { maxMessages: 10 } });
    const messages = [
      { data: 1, orderingKey: "k" },
      { data: 2, orderingKey: "k" },
    ];
    await topic.batch({ messages }, TRACE);
    const [hook] = await receiver.first(1);
    const sent = JSON.parse(hook?.text ?? "").messages as { traceparent: string }[];
    expect(new Set([...sent.map(({ traceparent }) => traceparent), PARENT]).size).toBe(3);
    for (const { traceparent } of sent) expect(traceparent).toContain(TRACE_ID);
  });
});
