// Clause 8, beside subscriptions: whoever follows a topic's log as server-sent events misses nothing between the place it
// begins at and the place it has, and goes on there.

import { describe, expect, test } from "vitest";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();
type Ticket = Readonly<{ ticket: string; expiresAt: number }>;
const places = (events: readonly { data: Readonly<Record<string, unknown>> }[]) =>
  events.map(({ data }) => [data.partition, data.offset]);

describe("clause 8, a stream", () => {
  test("clause 8: a reader gets what is published from then on, as it was published, and acks nothing", async () => {
    const topic = await broker.topic();
    await topic.publish({ id: "before", data: 1 });
    const stream = await broker.follow(topic.path);
    expect(stream.response.headers.get("content-type")).toBe("text/event-stream");
    expect(await stream.next()).toMatchObject({ event: "open", id: expect.stringMatching(/^1\./) });
    await topic.publish({ id: "m", data: "hello", attributes: { a: "b" } });
    expect(await stream.next()).toMatchObject({
      event: "message",
      data: { id: "m", data: "hello", attributes: { a: "b" }, partition: 0, offset: 1 },
    });
    await stream.leave();
    const again = await broker.follow(topic.path, "?from=earliest");
    expect((await again.take(3)).map(({ data }) => data.id)).toEqual([undefined, "before", "m"]);
    await again.leave();
  });

  test("clause 8: Last-Event-ID goes on at the exact place of every partition, wherever the connection broke", async () => {
    const topic = await broker.topic({ partitions: 3 });
    await topic.publish(...Array.from({ length: 30 }, (_, at) => ({ data: at, orderingKey: `k${at % 7}` })));
    const whole = await broker.follow(topic.path, "?from=earliest");
    const all = (await whole.take(31)).slice(1);
    await whole.leave();
    const first = await broker.follow(topic.path, "?from=earliest");
    const seen = (await first.take(13)).slice(1);
    await first.leave();
    await topic.publish({ id: "late", data: "late", orderingKey: "k1" });
    const rest = await broker.follow(topic.path, "", { "last-event-id": seen.at(-1)?.id ?? "" });
    const others = (await rest.take(20)).slice(1);
    await rest.leave();
    const sorted = (list: unknown[]) => list.map((each) => JSON.stringify(each)).sort();
    const late = others.find(({ data }) => data.id === "late");
    expect(sorted(places([...seen, ...others]))).toEqual(
      sorted([...places(all), ...places(late ? [late] : [])]),
    );
    expect(others).toHaveLength(19);
  });

  test("clause 8: a reader that connected and saw no message loses none when it comes back", async () => {
    const topic = await broker.topic();
    const stream = await broker.follow(topic.path);
    const { id } = await stream.next();
    await stream.leave();
    await topic.publish({ id: "meanwhile", data: 1 });
    const again = await broker.follow(topic.path, `?lastEventId=${id}`);
    expect((await again.take(2))[1]?.data.id).toBe("meanwhile");
    await again.leave();
  });

  test("clause 8: a place that no stream gave, or that a deleted topic gave, is refused", async () => {
    const topic = await broker.topic();
    const stream = await broker.follow(topic.path);
    const { id } = await stream.next();
    await stream.leave();
    const refused = async (at: typeof topic, place: string) =>
      (await broker.send("GET", `${at.path}/stream`, { headers: { "last-event-id": place } })).status;
    expect(await refused(topic, "7")).toBe(400);
    expect(await refused(await broker.topic(), id)).toBe(410);
  });

  test("clause 8: a ticket stands for the token in the URL of its own path, and nowhere else", async () => {
    const [topic, other] = [await broker.topic(), await broker.topic()];
    const { ticket } = await broker.call<{ ticket: string }>("POST", `${topic.path}/ticket`);
    const by = async (path: string) => (await broker.send("GET", path, { token: null })).status;
    expect(await by(`${other.path}/stream?ticket=${ticket}`)).toBe(403);
    expect(await by(`${topic.path}/stream?ticket=${ticket.slice(0, -2)}AA`)).toBe(401);
    expect(await by(`${topic.path}?ticket=${ticket}`)).toBe(401);
    expect(await by(`${topic.path}/stream`)).toBe(401);
    const stream = await broker.follow(topic.path, `?ticket=${ticket}`, { authorization: "" });
    expect(await stream.next()).toMatchObject({ event: "open" });
    await stream.leave();
  });

  test("clause 8: a ticket ends when it says, and lasts a quarter of an hour at the most", async () => {
    const topic = await broker.topic();
    const make = (ttlMs: number) => {
      const json = { ttlMs };
      return broker.send<Ticket>("POST", `${topic.path}/ticket`, { json });
    };
    const { ticket, expiresAt } = (await make(1_000)).body;
    expect(expiresAt).toEqual(expect.any(Number));
    await broker.lapse(1_500);
    const late = await broker.send("GET", `${topic.path}/stream?ticket=${ticket}`, { token: null });
    expect(late.status).toBe(401);
    expect(await make(15 * 60_000 + 1)).toMatchObject({ status: 400, body: { field: "ttlMs" } });
    expect((await make(15 * 60_000)).status).toBe(201);
  });

  test("clause 8: when its topic is deleted a stream ends, and says why", async () => {
    const topic = await broker.topic();
    const stream = await broker.follow(topic.path);
    expect(await stream.next()).toMatchObject({ event: "open" });
    await broker.call("DELETE", topic.path);
    expect(await stream.next()).toMatchObject({ event: "end", data: { reason: "gone" } });
  });
});
