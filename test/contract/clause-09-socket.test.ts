// Clause 9: a consumer on a WebSocket holds leases as one that pulls does; it gets no more than it granted, settles over
// the same socket, and what it leaves behind goes back.

import { describe, expect, test } from "vitest";
import { codeOf, type Delivered } from "../support/contract-client";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();
const idsOf = (messages: readonly Delivered[]) => messages.map(({ id }) => id);
const ackIds = (messages: readonly Delivered[]) => messages.map(({ ackId }) => ackId);
const many = (count: number) => Array.from({ length: count }, (_, at) => ({ id: `m${at}`, data: at }));

describe("clause 9, a socket", () => {
  test("clause 9: it is sent as many as it granted and no more, as they come, and settles them", async () => {
    const queue = await broker.queue();
    const socket = await broker.listen(queue.path, { credit: "2" });
    expect(await socket.next("open")).toMatchObject({ partition: 0, credit: 2 });
    await queue.publish(...many(5));
    const first = await socket.messages<Delivered>(2);
    expect(idsOf(first)).toEqual(["m0", "m1"]);
    expect(await queue.stats()).toMatchObject([{ leased: 2, unread: 3 }]);
    socket.say({ type: "ack", ackIds: ackIds(first), ref: "a" });
    expect(await socket.next("results")).toEqual({
      ...{ type: "results", ref: "a" },
      results: ackIds(first).map((ackId) => ({ ackId, status: "acked" })),
    });
    socket.say({ type: "ack", ackIds: ackIds(first) });
    expect(await socket.next("results")).toMatchObject({
      results: [{ status: "lease-lost" }, { status: "lease-lost" }],
    });
    socket.say({ type: "credit", messages: 10 });
    expect(idsOf(await socket.messages<Delivered>(3))).toEqual(["m2", "m3", "m4"]);
    await queue.publish({ id: "later", data: 1 });
    expect(idsOf(await socket.messages<Delivered>(1))).toEqual(["later"]);
    expect(await queue.stats()).toMatchObject([{ settled: 2, leased: 4, unread: 0 }]);
    socket.close();
  });

  test("clause 9: what it leaves behind goes to the next consumer at once, no attempt counted", async () => {
    const queue = await broker.queue();
    await queue.publish(...many(3));
    const first = await broker.listen(queue.path, { credit: "10" });
    const [done, ...left] = await first.messages<Delivered>(3);
    first.say({ type: "ack", ackIds: done ? [done.ackId] : [] });
    await first.next("results");
    first.close();
    const second = await broker.listen(queue.path, { credit: "10" });
    const again = await second.messages<Delivered>(2);
    expect(idsOf(again)).toEqual(idsOf(left));
    expect(again.map(({ attempt }) => attempt)).toEqual([1, 1]);
    second.close();
  });

  test("clause 9: nack and extend work upstream as their routes do, and each kept promise of a lease holds", async () => {
    const queue = await broker.queue({ retry: { minDelayMs: 0, maxDelayMs: 0 } });
    await queue.publish({ id: "m", data: 1 });
    const socket = await broker.listen(queue.path, { credit: "1", ackDeadlineMs: "30000" });
    const [first] = await socket.messages<Delivered>(1);
    if (!first) throw new Error("a message came");
    expect(first.deadlineAt - first.publishedAt).toBeLessThan(60_000);
    socket.say({ type: "extend", ackIds: [first.ackId], ackDeadlineMs: 60_000 });
    expect(await socket.next("results")).toMatchObject({ results: [{ status: "extended" }] });
    socket.say({ type: "nack", ackIds: [first.ackId], delayMs: 0 });
    expect(await socket.next("results")).toMatchObject({ results: [{ status: "released" }] });
    socket.say({ type: "credit", messages: 1 });
    const [second] = await socket.messages<Delivered>(1);
    expect([second?.id, second?.attempt]).toEqual(["m", 2]);
    socket.say({ type: "nack", ackIds: second ? [second.ackId] : [], deadLetter: true, reason: "no use" });
    expect(await socket.next("results")).toMatchObject({ results: [{ status: "dead" }] });
    expect(await queue.deadLetters()).toMatchObject([{ detail: "no use" }]);
    socket.close();
  });

  test("clause 9: what is said wrongly is answered by the field, and the socket goes on", async () => {
    const queue = await broker.queue();
    const socket = await broker.listen(queue.path);
    for (const [frame, field] of [
      [{ type: "credit", messages: 1_001 }, "messages"],
      [{ type: "ack", ackIds: ["1"] }, "ackIds[0]"],
      [{ type: "other" }, "type"],
      [{ type: "ack", ackIds: [], extra: 1 }, "extra"],
    ] as const) {
      socket.say(frame);
      expect(await socket.next("error")).toMatchObject({ code: "invalid-request", field });
    }
    socket.say("no JSON");
    expect(await socket.next("error")).toMatchObject({ code: "malformed-body" });
    socket.say("ping");
    await socket.next("pong");
    await queue.publish({ id: "m", data: 1 });
    socket.say({ type: "credit", messages: 1 });
    expect(idsOf(await socket.messages<Delivered>(1))).toEqual(["m"]);
    socket.close();
  });

  test("clause 9: a socket is for one partition of a pull subscription, and ends with it", async () => {
    const topic = await broker.topic({ partitions: 2 });
    const pull = await topic.subscribe();
    const { url } = await broker.receiver();
    const push = await topic.subscribe({ type: "push", endpoint: { url } });
    const refused = async (path: string, headers = {}) => broker.send("GET", path, { headers });
    expect((await refused(`${pull.path}/socket`)).body).toMatchObject({ status: 400, field: "Upgrade" });
    await expect(broker.listen(pull.path)).rejects.toThrow();
    await expect(broker.listen(push.path, { partition: "0" })).rejects.toThrow();
    expect(codeOf((await refused(`${pull.path}/nothing`)).body)).toBe("not-found");
    const socket = await broker.listen(pull.path, { partition: "1", credit: "1" });
    await broker.call("DELETE", pull.path);
    expect(await socket.closed).toEqual({ code: 4410 });
  });

  test("clause 9: it ends when the subscription is to push, and gives back what it holds", async () => {
    const topic = await broker.topic();
    const { path, pull, stats } = await topic.subscribe({}, "s");
    const { url } = await broker.receiver();
    const socket = await broker.listen(path, { credit: "1" });
    await topic.publish({ id: "m", data: 1 });
    await socket.messages<Delivered>(1);
    await broker.call("PUT", path, { json: { type: "push", endpoint: { url } } });
    expect(await socket.closed).toEqual({ code: 4409 });
    await broker.eventually("it is pushed", async () =>
      (await stats())[0]?.settled === 1 ? true : undefined,
    );
    await expect(pull()).rejects.toThrow("not-pull");
  });

  test("clause 9: frames that are no text, or larger than 1 MiB, end it", async () => {
    const queue = await broker.queue();
    for (const [frame, code] of [
      [new Uint8Array([1]), 1003],
      ["x".repeat(1024 * 1024 + 1), 1009],
    ] as const) {
      const socket = await broker.listen(queue.path);
      socket.say(frame);
      expect(await socket.closed).toEqual({ code });
    }
  });

  test("clause 9: what came over a socket may be settled over HTTP, and what was pulled over a socket", async () => {
    const queue = await broker.queue();
    await queue.publish(...many(2));
    const socket = await broker.listen(queue.path, { credit: "1" });
    const [sent] = await socket.messages<Delivered>(1);
    const [pulled] = await queue.pullAll(1);
    expect(await queue.ack(sent ? [sent] : [])).toEqual(["acked"]);
    socket.say({ type: "ack", ackIds: pulled ? [pulled.ackId] : [] });
    expect(await socket.next("results")).toMatchObject({ results: [{ status: "acked" }] });
    expect(await queue.stats()).toMatchObject([{ settled: 2, leased: 0 }]);
    socket.close();
  });
});
