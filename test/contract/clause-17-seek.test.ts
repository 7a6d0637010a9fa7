// Clause 17: a subscription is moved to another place of its log, live.

import { describe, expect, test } from "vitest";
import { codeOf, type PartitionStats, type Problem, type Subscription } from "../support/contract-client";
import { idOf } from "../support/contract-scenes";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();
const EAGER = { retry: { minDelayMs: 0, maxDelayMs: 0 } };
const ids = (messages: readonly { id: string }[]) => messages.map(({ id }) => id);
const named = (...names: string[]) => names.map((id) => ({ id, data: id }));

type Sought = Readonly<{
  dryRun: boolean;
  total: Readonly<{ again: number; skipped: number; overtaken: number }> &
    Readonly<{ voided: Readonly<{ leased: number; waiting: number }> }>;
  partitions: readonly Readonly<{ partition: number; epoch: number; fromOffset: number; toOffset: number }>[];
}>;
type Path = Pick<Subscription, "path">;

const seek = ({ path }: Path, to: unknown, more: object = {}) =>
  broker.call<Sought>("POST", `${path}/seek`, { json: { to, reprocess: true, ...more } });
const trySeek = ({ path }: Path, json: object) => broker.send<Problem>("POST", `${path}/seek`, { json });

const holds = (stats: readonly PartitionStats[]) => {
  for (const s of stats) {
    const terms = s.settled + s.filtered + s.expired + s.dead + s.purged + s.moved + s.leased + s.waiting;
    expect(s.nextOffset - s.startOffset + s.readmitted, JSON.stringify(s)).toBe(terms);
    expect(s.unread).toBe(s.head - s.nextOffset);
  }
};

describe("clause 17, where it goes on", () => {
  test("clause 17: at the beginning, all comes again, in order; at the end, only what is published after", async () => {
    const queue = await broker.queue(EAGER);
    await queue.publish(...named("a", "b", "c"));
    await queue.ack(await queue.pullAll(3));
    await seek(queue, "earliest");
    expect(ids(await queue.pullAll(3))).toEqual(["a", "b", "c"]);
    await seek(queue, "latest");
    expect(await queue.pull()).toEqual([]);
    await queue.publish(...named("d"));
    expect(ids(await queue.pullAll(1))).toEqual(["d"]);
  });

  test("clause 17: offsets move the partitions that they name, and no other", async () => {
    const topic = await broker.topic({ partitions: 2 });
    const subscription = await topic.subscribe(EAGER);
    const places = await topic.publish(...named(...Array.from({ length: 12 }, (_, i) => `m-${i}`)));
    const all = await subscription.pullAll(12);
    await subscription.ack(all);
    const [first] = places;
    if (!first) throw new Error("nothing was published");
    const { partition, offset } = first;
    const sought = await seek(subscription, { offsets: { [partition]: offset } });
    expect(sought.partitions.map((each) => each.partition)).toEqual([partition]);
    const again = places.filter((place) => place.partition === partition);
    expect(ids(await subscription.pullAll(again.length)).sort()).toEqual(ids(again).sort());
    const stats = await subscription.stats();
    expect(stats.map(({ epoch }) => epoch)).toEqual([0, 1].map((each) => (each === partition ? 1 : 0)));
    holds(stats);
  });

  test("clause 17: a time means when the topic stored the message", async () => {
    const queue = await broker.queue(EAGER);
    await queue.publish(...named("a"));
    await broker.lapse(20);
    await queue.publish(...named("b"));
    const { messages } = await broker.call<{ messages: { id: string; storedAt: number }[] }>(
      "GET",
      `${queue.path}/messages`,
    );
    const [a, b] = messages;
    if (!a || !b) throw new Error("two messages are stored");
    expect(b.storedAt).toBeGreaterThan(a.storedAt);
    for (const [time, from] of [
      [b.storedAt, ["b"]],
      [a.storedAt + 1, ["b"]],
      [a.storedAt, ["a", "b"]],
      [0, ["a", "b"]],
    ] as const) {
      await seek(queue, { time });
      expect(ids(await queue.pullAll(from.length))).toEqual(from);
    }
    await seek(queue, { time: b.storedAt + 1 });
    expect(await queue.pull()).toEqual([]);
  });

  test("clause 17: a subscription can be created at any of those points", async () => {
    const topic = await broker.topic();
    await topic.publish(...named("a"));
    await broker.lapse(20);
    await topic.publish(...named("b"));
    const page = await broker.call<{ messages: { storedAt: number }[] }>("GET", `${topic.path}/messages`);
    const time = page.messages[1]?.storedAt;
    for (const [startAt, from] of [
      ["earliest", ["a", "b"]],
      [{ offsets: { 0: 1 } }, ["b"]],
      [{ time }, ["b"]],
    ] as const) {
      const subscription = await topic.subscribe({ ...EAGER, startAt });
      expect(ids(await subscription.pullAll(from.length))).toEqual(from);
    }
    const late = await topic.subscribe({ ...EAGER, startAt: "latest" });
    expect(await late.pull()).toEqual([]);
  });

  test("clause 17: what cannot be is refused, naming the field, and moves no partition", async () => {
    const topic = await broker.topic({ partitions: 2 });
    const subscription = await topic.subscribe();
    await topic.publish(...named("a", "b", "c"));
    const heads = (await subscription.stats()).map(({ head }) => head);
    for (const [to, field] of [
      [{ offsets: { 0: 0, 1: (heads[1] ?? 0) + 1 } }, "to.offsets.1"],
      [{ offsets: { 2: 0 } }, "to.offsets.2"],
    ] as const) {
      const { status, body } = await trySeek(subscription, { to, reprocess: true });
      expect([status, codeOf(body), body.field]).toEqual([400, "invalid-request", field]);
    }
    const unknown = await trySeek(subscription, { to: { snapshot: "nowhere" } });
    expect([unknown.status, codeOf(unknown.body)]).toEqual([404, "snapshot-not-found"]);
    expect((await subscription.stats()).map(({ epoch }) => epoch)).toEqual([0, 0]);
  });
});

describe("clause 17, a new epoch", () => {
  test("clause 17: open leases are void, what waits is dropped, and the counters begin anew", async () => {
    const queue = await broker.queue({ retry: { minDelayMs: 3_600_000, maxDelayMs: 3_600_000 } });
    await queue.publish(...named("a", "b", "c", "d", "e"));
    const [a, b, c, d] = await queue.pullAll(4, { max: 4 });
    if (!a || !b || !c || !d) throw new Error("four were pulled");
    await queue.ack([a]);
    await queue.nack([b]);
    await queue.nack([c], { deadLetter: true });
    holds(await queue.stats());
    await seek(queue, { offsets: { 0: 1 } });
    const stats = await queue.stats();
    holds(stats);
    expect(stats).toMatchObject([
      { epoch: 1, startOffset: 1, nextOffset: 1, unread: 4, settled: 0, leased: 0, waiting: 0, dead: 0 },
    ]);
    expect(await queue.ack([d])).toEqual(["lease-lost"]);
    expect(await queue.extend([d], 60_000)).toEqual(["lease-lost"]);
    const again = await queue.pullAll(4);
    expect(again.map(({ id, attempt }) => [id, attempt])).toEqual(["b", "c", "d", "e"].map((id) => [id, 1]));
    expect(await queue.nack([d])).toEqual(["lease-lost"]);
    expect(await queue.ack(again)).toEqual(["acked", "acked", "acked", "acked"]);
    holds(await queue.stats());
  });

  test("clause 17: whoever polls meanwhile is handed what comes at the new place", async () => {
    const queue = await broker.queue(EAGER);
    await queue.publish(...named("a"));
    await queue.ack(await queue.pullAll(1));
    const polling = queue.pullAll(1);
    await seek(queue, "earliest");
    expect(ids(await polling)).toEqual(["a"]);
  });

  test("clause 17: the same seek again, by its key, moves nothing a second time", async () => {
    const queue = await broker.queue(EAGER);
    await queue.publish(...named("a", "b"));
    await queue.ack(await queue.pullAll(2));
    const request = { json: { to: "earliest", reprocess: true }, headers: { "idempotency-key": "back" } };
    const first = await broker.call("POST", `${queue.path}/seek`, request);
    const leased = await queue.pullAll(2);
    expect(await broker.call("POST", `${queue.path}/seek`, request)).toEqual(first);
    expect(await queue.ack(leased)).toEqual(["acked", "acked"]);
    expect(await queue.stats()).toMatchObject([{ epoch: 1, settled: 2 }]);
  });

  test("clause 17: a dry run counts what then happens, and changes nothing", async () => {
    const topic = await broker.topic({ partitions: 3 });
    const subscription = await topic.subscribe({ retry: { minDelayMs: 3_600_000, maxDelayMs: 3_600_000 } });
    await topic.publish(...named(...Array.from({ length: 30 }, (_, i) => `m-${i}`)));
    const leased = await subscription.pullAll(20, { max: 20 });
    await subscription.ack(leased.slice(0, 8));
    await subscription.nack(leased.slice(8, 12));
    const before = await subscription.stats();
    const counted = await seek(subscription, "earliest", { dryRun: true });
    expect(counted).toMatchObject({ dryRun: true, total: { again: 20, voided: { leased: 8, waiting: 4 } } });
    expect(await subscription.stats()).toEqual(before);
    expect(await seek(subscription, "earliest")).toEqual({ ...counted, dryRun: false });
    expect(await subscription.pullAll(30)).toHaveLength(30);
    const skipping = await topic.subscribe();
    await skipping.pullAll(1, { max: 1 });
    const skipped = await seek(skipping, "latest", { dryRun: true });
    expect(skipped.total).toMatchObject({ again: 0, skipped: 29, voided: { leased: 1, waiting: 0 } });
  });
});

describe("clause 17, completed work", () => {
  test("clause 17: nothing is processed again that nobody asked to have processed again", async () => {
    const queue = await broker.queue(EAGER);
    await queue.publish(...named("a"));
    await queue.ack(await queue.pullAll(1));
    const { status, body } = await trySeek(queue, { to: "earliest" });
    expect([status, codeOf(body), body.field]).toEqual([409, "conflict", "reprocess"]);
    expect((await trySeek(queue, { to: "earliest", dryRun: true })).status).toBe(200);
    expect((await trySeek(queue, { to: "latest" })).status).toBe(200);
  });

  test("clause 17: effectively-once sends only what was not completed, unless it is asked to send all again", async () => {
    const [topic, receiver] = [await broker.topic(), await broker.receiver()];
    receiver.answer(({ headers }) => ({ status: headers.get("webhook-id") === "b" ? 500 : 204 }));
    const subscription = await topic.subscribe({
      ...{ type: "push", endpoint: { url: receiver.url }, guarantee: "effectively-once" },
      retry: { minDelayMs: 3_600_000, maxDelayMs: 3_600_000 },
    });
    await topic.publish(...named("a", "b", "c"));
    const settled = (count: number, epoch: number) =>
      broker.eventually(`${count} are settled in epoch ${epoch}`, async () => {
        const [stats] = await subscription.stats();
        return stats?.epoch === epoch && stats.settled === count ? stats : undefined;
      });
    await receiver.first(3);
    await settled(2, 0);
    receiver.answer(() => ({ status: 204 }));
    await seek(subscription, "earliest", { reprocess: false });
    await settled(3, 1);
    expect(receiver.hooks.map(idOf).slice(3)).toEqual(["b"]);
    await seek(subscription, "earliest", { reprocess: true });
    expect((await receiver.first(7)).map(idOf).slice(4).sort()).toEqual(["a", "b", "c"]);
    await settled(3, 2);
    holds(await subscription.stats());
  });

  test("clause 17: a dispatch under way counts in no epoch, and what it carried comes again under its webhook-id", async () => {
    const [topic, receiver] = [await broker.topic(), await broker.receiver()];
    const gate = await broker.queue();
    receiver.answer(async (_, index) => {
      // The first request is answered only once the test lets it go on.
      if (index === 0) await gate.pullAll(1);
      return { status: 204 };
    });
    const subscription = await topic.subscribe({ type: "push", endpoint: { url: receiver.url }, ...EAGER });
    await topic.publish(...named("a"));
    await receiver.first(1);
    await seek(subscription, "earliest");
    const [, second] = await receiver.first(2);
    expect(second && idOf(second)).toBe("a");
    await gate.publish({ data: "go on" });
    await broker.eventually("the second is settled", async () => {
      const [stats] = await subscription.stats();
      return stats?.settled === 1 ? stats : undefined;
    });
    await broker.lapse(300);
    const stats = await subscription.stats();
    expect(stats).toMatchObject([{ epoch: 1, settled: 1, leased: 0, waiting: 0 }]);
    holds(stats);
    expect(receiver.hooks).toHaveLength(2);
  });
});

describe("clause 17, dead letters", () => {
  const redrive = ({ path }: Path, json: object) =>
    broker.call("POST", `${path}/dead-letters/redrive`, { json });

  test("clause 17: they stay with their epoch, to be listed, inspected and purged", async () => {
    const queue = await broker.queue(EAGER);
    await queue.publish(...named("a", "b"));
    await queue.nack(await queue.pullAll(2), { deadLetter: true });
    await seek(queue, "earliest");
    await queue.nack(await queue.pullAll(1, { max: 1 }), { deadLetter: true });
    const letters = await queue.deadLetters();
    expect(letters.map(({ id, epoch, message }) => [id, epoch, message?.id])).toEqual([
      ["0.0.0", 0, "a"],
      ["0.0.1", 0, "b"],
      ["0.1.0", 1, "a"],
    ]);
    const page = await broker.call("GET", `${queue.path}/dead-letters?after=0.0.0&limit=1`);
    expect(page).toMatchObject({ deadLetters: [{ id: "0.0.1" }], next: "0.0.1" });
    expect(await broker.call("GET", `${queue.path}/dead-letters/0.0.1`)).toMatchObject({ epoch: 0 });
    expect(await queue.stats()).toMatchObject([{ dead: 1, formerDead: 2 }]);
    const json = { ids: ["0.0.1", "0.1.1"] };
    expect(await broker.call("DELETE", `${queue.path}/dead-letters`, { json })).toMatchObject({ purged: 1 });
    expect(ids(await queue.deadLetters())).toEqual(["0.0.0", "0.1.0"]);
    holds(await queue.stats());
  });

  test("clause 17: redriven, they go round outside their lane, unless this epoch delivers them anyway", async () => {
    const queue = await broker.queue(EAGER);
    await queue.publish(
      ...["k1", "k2", "k3"].map((id) => ({ id, orderingKey: "k", data: id })),
      ...named("free"),
    );
    await queue.nack(await queue.pullAll(1, { max: 1 }), { deadLetter: true });
    await queue.nack(await queue.pullAll(1), { deadLetter: true });
    await seek(queue, { offsets: { 0: 1 } });
    const [k2] = await queue.pullAll(1, { max: 1 });
    if (!k2) throw new Error("k2 was pulled");
    expect(await redrive(queue, { all: true })).toEqual({
      redriven: 1,
      superseded: 1,
      refused: 0,
      more: false,
    });
    expect(await queue.deadLetters()).toEqual([]);
    const rest = await queue.pullAll(2);
    expect(ids(rest)).toEqual(["k1", "free"]);
    holds(await queue.stats());
    await queue.ack([k2, ...rest]);
    await queue.ack(await queue.pullAll(1));
    const stats = await queue.stats();
    expect(stats).toMatchObject([{ settled: 4, readmitted: 1, leased: 0, waiting: 0, formerDead: 0 }]);
    holds(stats);
  });
});

describe("clause 17, snapshots", () => {
  test("clause 17: a snapshot keeps a position, and a seek to it passes over nothing that was open", async () => {
    const topic = await broker.topic();
    const subscription = await topic.subscribe(EAGER);
    await topic.publish(...named("a", "b", "c", "d"));
    const [a, b, c] = await subscription.pullAll(3, { max: 3 });
    if (!a || !b || !c) throw new Error("three were pulled");
    await subscription.ack([a, c]);
    const at = `${subscription.path}/snapshots/before-deploy`;
    const made = await broker.send("PUT", at);
    expect([made.status, made.body]).toMatchObject([201, { name: "before-deploy", offsets: { 0: 1 } }]);
    await subscription.ack([b]);
    await subscription.ack(await subscription.pullAll(1));
    const again = await broker.send("PUT", at);
    expect([again.status, again.body]).toEqual([200, made.body]);
    expect(await broker.call("GET", at)).toEqual(made.body);
    await seek(subscription, { snapshot: "before-deploy" });
    expect(ids(await subscription.pullAll(3))).toEqual(["b", "c", "d"]);
  });

  test("clause 17: snapshots are listed in pages, forgotten by name, and go with their subscription", async () => {
    const topic = await broker.topic();
    const subscription = await topic.subscribe(EAGER, "billing");
    const path = `${subscription.path}/snapshots`;
    for (const name of ["c", "a", "b"]) await broker.call("PUT", `${path}/${name}`);
    const page = await broker.call("GET", `${path}?limit=2`);
    expect(page).toMatchObject({ snapshots: [{ name: "a" }, { name: "b" }], next: "b" });
    const rest = await broker.call("GET", `${path}?limit=2&after=b`);
    expect(rest).toMatchObject({ snapshots: [{ name: "c" }], next: null });
    expect((await broker.send("DELETE", `${path}/a`)).status).toBe(204);
    expect((await broker.send("DELETE", `${path}/a`)).status).toBe(204);
    const missing = await broker.send("GET", `${path}/a`);
    expect([missing.status, codeOf(missing.body)]).toEqual([404, "snapshot-not-found"]);
    await broker.call("DELETE", subscription.path);
    await topic.subscribe(EAGER, "billing");
    expect(await broker.call("GET", path)).toEqual({ snapshots: [], next: null });
  });
});
