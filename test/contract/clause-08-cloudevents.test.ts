// Clause 8: a CloudEvent reaches every subscription as it was published, in whatever mode; and every message can be
// delivered as one.

import { CloudEvent, emitterFor, HTTP } from "cloudevents";
import { describe, expect, test } from "vitest";
import { codeOf, type Published } from "../support/contract-client";
import type { Hook } from "../support/contract-receiver";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();
const STORED = { prefer: "wait" };
const STRUCTURED = { ...STORED, "content-type": "application/cloudevents+json" };
const BATCHED = { ...STORED, "content-type": "application/cloudevents-batch+json" };
const EVENT = {
  ...{ specversion: "1.0", id: "e.1", source: "/shop?a=1", type: "order.created", subject: "o.7" },
  ...{ time: "2026-11-24T00:00:00.123456Z", datacontenttype: "application/json", tenant: "acme é", count: 5 },
  data: { total: 10.5 },
};
const BINARY = {
  ...{ "ce-specversion": "1.0", "ce-id": "e.1", "ce-source": "/shop?a=1", "ce-type": "order.created" },
  ...{ "ce-subject": "o.7", "ce-time": "2026-11-24T00:00:00.123456Z", "ce-tenant": "acme%20%C3%A9" },
  ...{ "ce-count": "5", "content-type": "application/json" },
};
const BODY = '{"total":10.5}';

async function pushed(format: string, more: object = {}) {
  const [topic, receiver] = [await broker.topic(), await broker.receiver()];
  await topic.subscribe({ type: "push", endpoint: { url: receiver.url, format }, ...more });
  return { topic, receiver };
}

const eventHeaders = ({ headers }: Hook) =>
  Object.fromEntries([...headers].filter(([name]) => name.startsWith("ce-") || name === "content-type"));

describe("clause 8, CloudEvents", () => {
  test("clause 8: an event goes out in either mode as it came in in the other", async () => {
    const binary = await pushed("cloudevents-binary");
    const structured = await pushed("cloudevents-structured");
    expect((await binary.topic.publishRaw(JSON.stringify(EVENT), STRUCTURED)).status).toBe(201);
    expect((await structured.topic.publishRaw(JSON.stringify(EVENT), STRUCTURED)).status).toBe(201);
    const [asBinary] = await binary.receiver.first(1);
    const [asStructured] = await structured.receiver.first(1);
    expect(asBinary && eventHeaders(asBinary)).toEqual(BINARY);
    expect(asBinary?.text).toBe(BODY);
    expect(asBinary?.headers.get("webhook-id")).toBe("e%2E1");
    expect(asStructured?.headers.get("content-type")).toBe("application/cloudevents+json; charset=utf-8");
    expect(JSON.parse(asStructured?.text ?? "")).toEqual(EVENT);
  });

  test("clause 8: the specification's own SDK, as a client and as a receiver, finds its event as it sent it", async () => {
    const { topic, receiver } = await pushed("cloudevents-structured");
    const binary = await broker.receiver();
    await topic.subscribe({ type: "push", endpoint: { url: binary.url, format: "cloudevents-binary" } });
    const event = new CloudEvent({ ...EVENT, tenant: "acme" });
    const emit = emitterFor(async ({ headers, body }) => {
      const sent = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]));
      return topic.publishRaw(String(body), { ...STORED, ...sent });
    });
    await emit(event);
    for (const each of [receiver, binary]) {
      const [hook] = await each.first(1);
      const received = HTTP.toEvent({ headers: Object.fromEntries(hook?.headers ?? []), body: hook?.text });
      expect(JSON.parse(JSON.stringify({ ...received, count: 5 }))).toEqual(
        JSON.parse(JSON.stringify(event)),
      );
    }
  });

  test("clause 8: the same event in another mode is the same message, and other content under its id is refused", async () => {
    const topic = await broker.topic();
    const first = await topic.publishRaw(BODY, { ...STORED, ...BINARY });
    const again = await topic.publishRaw(JSON.stringify(EVENT), STRUCTURED);
    const batch = await topic.publishRaw(JSON.stringify([EVENT, { ...EVENT, type: "other" }]), BATCHED);
    expect(first.body.messages).toMatchObject([{ id: "e%2E1", duplicate: false }]);
    expect(again.body.messages).toMatchObject([{ id: "e%2E1", duplicate: true }]);
    const [met, refused] = batch.body.messages as [Published, Published];
    expect([batch.status, met.duplicate]).toEqual([201, true]);
    expect(refused.error && codeOf(refused.error)).toBe("id-reused");
  });

  test("clause 8: whoever pulls finds its attributes, and what is not a whole event is refused by the field", async () => {
    const topic = await broker.topic();
    const subscription = await topic.subscribe();
    const batch = `[${JSON.stringify(EVENT)},{"specversion":"1.0"}]`;
    const url = `${topic.path}/messages/batch`;
    const answer = await broker.send<{ messages: Published[] }>("POST", url, {
      body: batch,
      headers: BATCHED,
    });
    expect(answer.body.messages[1]?.error).toMatchObject({ status: 400, field: "[1].id" });
    expect(await subscription.pullAll(1)).toMatchObject([
      {
        ...{ id: "e%2E1", contentType: "application/json", data: BODY, subject: "o.7" },
        attributes: {
          ...{
            "ce-specversion": "1.0",
            "ce-id": "e.1",
            "ce-source": "/shop?a=1",
            "ce-type": "order.created",
          },
          ...{ "ce-time": EVENT.time, "ce-tenant": "acme é", "ce-count": "5" },
        },
      },
    ]);
    const half = await topic.publishRaw("x", { "ce-specversion": "1.0", "ce-id": "1", "ce-type": "t" });
    expect([half.status, half.body.field]).toEqual([400, "ce-source"]);
    const avro = await topic.publishRaw("x", { "content-type": "application/cloudevents+avro" });
    expect(codeOf(avro.body)).toBe("unsupported-content-type");
  });

  test("clause 8: what was not published as an event is delivered as a valid one, alone and in a batch", async () => {
    const { topic, receiver } = await pushed("cloudevents-structured", { batch: { maxMessages: 10 } });
    await topic.publish(
      { id: "m-1", data: "hello", orderingKey: "k", attributes: { tenant: "a" } },
      { id: "m-2", dataBase64: "/wA=", orderingKey: "k" },
    );
    const [hook] = await receiver.first(1);
    expect(hook?.headers.get("content-type")).toBe("application/cloudevents-batch+json; charset=utf-8");
    const common = { specversion: "1.0", source: topic.path, type: "pennypost.message", partitionkey: "k" };
    expect(JSON.parse(hook?.text ?? "")).toMatchObject([
      { ...common, id: "m-1", datacontenttype: "text/plain; charset=utf-8", tenant: "a", data: "hello" },
      { ...common, id: "m-2", datacontenttype: "application/octet-stream", data_base64: "/wA=" },
    ]);
  });

  test("clause 8: of a batch of events, those that its endpoint names as failed come again, and no others", async () => {
    const { topic, receiver } = await pushed("cloudevents-structured", {
      ...{ batch: { maxMessages: 10 }, retry: { minDelayMs: 0, maxDelayMs: 0 } },
    });
    receiver.answer((_, index) =>
      index > 0
        ? { status: 204 }
        : { status: 200, headers: { "content-type": "application/json" }, body: '{"failed":[{"id":"e.1"}]}' },
    );
    await topic.publishRaw(
      JSON.stringify([
        { ...EVENT, partitionkey: "k" },
        { ...EVENT, id: "e.2" },
      ]),
      BATCHED,
    );
    const hooks = await receiver.first(2);
    const again = hooks.slice(1).map(({ text }) => JSON.parse(text).map(({ id }: { id: string }) => id));
    expect(again).toContainEqual(["e.1"]);
  });

  test("clause 8: a format that a request cannot carry is refused when it is set", async () => {
    const [topic, { url }] = [await broker.topic(), await broker.receiver()];
    const refused = async (settings: object) => {
      const json = { type: "push", batch: { maxMessages: 2 }, ...settings };
      return (await broker.send("PUT", `${topic.path}/subscriptions/s`, { json })).body.field;
    };
    expect(await refused({ endpoint: { url, format: "cloudevents-binary" } })).toBe("endpoint.format");
    const once = { guarantee: "effectively-once", endpoint: { url, format: "cloudevents-structured" } };
    expect(await refused(once)).toBe("guarantee");
  });
});
