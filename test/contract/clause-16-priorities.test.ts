// Clause 16 for a queue with priorities: which message is handed out next.

import { describe, expect, test } from "vitest";
import type { Delivered } from "../support/contract-client";
import { idOf, ids, PATIENT, pushTo } from "../support/contract-scenes";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();

const of = (priority: number, count: number) =>
  Array.from({ length: count }, (_, i) => ({ id: `p${priority}-${i}`, data: i, priority }));
const prioritiesOf = (deliveries: readonly Delivered[]) => deliveries.map(({ priority }) => priority);

describe("clause 16", () => {
  test("clause 16: of priorities that all wait nine pulls take the highest and the tenth the lowest, and so on", async () => {
    const queue = await broker.queue({ priorities: [0, 5, 9] });
    await queue.publish(...of(0, 5), ...of(5, 5), ...of(9, 40));
    const taken: (number | undefined)[] = [];
    for (let pulls = 0; pulls < 30; pulls++) taken.push(...prioritiesOf(await queue.pull()));
    const lowest = taken.flatMap((priority, at) => (priority === 0 ? [at] : []));
    expect(lowest).toEqual([0, 10, 20].map((at) => at + (lowest[0] ?? 0)));
    expect(taken.filter((priority) => priority === 9)).toHaveLength(27);
  });

  test("clause 16: a pull of many takes the highest first, and of the lower ones what there is room for", async () => {
    const queue = await broker.queue({ priorities: [0, 5, 9] });
    await queue.publish(...of(0, 2), ...of(5, 2), ...of(9, 2));
    const turns: string[] = [];
    for (let round = 0; round < 10; round++) {
      const pulled: Delivered[] = await queue.pull({ max: 3 });
      turns.push(prioritiesOf(pulled).join(" "));
      await queue.nack(pulled, { delayMs: 0 });
    }
    expect(turns.sort()).toEqual(["0 0 9", ...Array(9).fill("9 9 5")]);
  });

  test("clause 16: a message of a high priority that waits for its retry holds up none of a lower one", async () => {
    const queue = await broker.queue({ priorities: [0, 9] });
    await queue.publish({ id: "high", data: 1, priority: 9 }, { id: "low", data: 2 });
    const both = await queue.pullAll(2);
    await queue.nack(
      both.filter(({ id }) => id === "high"),
      { delayMs: 3_600_000 },
    );
    await queue.nack(
      both.filter(({ id }) => id === "low"),
      { delayMs: 0 },
    );
    expect(ids(await queue.pullAll(1))).toEqual(["low"]);
  });

  test("clause 16: a pull that waits is answered by whatever priority comes", async () => {
    const queue = await broker.queue({ priorities: [0, 5, 9] });
    for (const priority of [0, 9, 5]) {
      const waiting = queue.pull({ waitMs: 20_000 });
      await queue.publish({ id: `p${priority}`, data: 1, priority });
      expect(prioritiesOf(await waiting)).toEqual([priority]);
    }
  });

  test("clause 16: priorities are added under way, and what was published before has the lowest", async () => {
    const queue = await broker.queue();
    const [before] = await queue.publish({ id: "a", data: 1 });
    const shown = await broker.call("PUT", queue.path, { json: { priorities: [7, 0] } });
    expect(shown).toMatchObject({ partitions: 1, priorities: [0, 7] });
    const [again, high] = await queue.publish({ id: "a", data: 1 }, { id: "a", data: 1, priority: 7 });
    expect(again).toMatchObject({ ...before, duplicate: true });
    expect(high).toMatchObject({ partition: 1, offset: 0, duplicate: false });
    const pulled: Delivered[] = await queue.pullAll(2);
    expect(prioritiesOf(pulled).sort()).toEqual([0, 7]);
    expect(await queue.ack(pulled)).toEqual(["acked", "acked"]);
    const stats = await queue.stats();
    expect(stats).toMatchObject([
      { partition: 0, priority: 0, settled: 1 },
      { partition: 1, priority: 7, settled: 1 },
    ]);
    expect(await broker.call("GET", `${queue.path}/messages/1.0`)).toMatchObject({
      state: "stored",
      priority: 7,
    });
    expect(await broker.call("PUT", queue.path, { json: {} })).toMatchObject({ priorities: [0, 7] });
    for (const json of [{ priorities: [0] }, { partitions: 2 }]) {
      const [field] = Object.keys(json);
      expect(await broker.send("PUT", queue.path, { json })).toMatchObject({ status: 409, body: { field } });
    }
  });

  test("clause 16: a priority that the topic does not list is refused, naming the list, and its neighbours are stored", async () => {
    const queue = await broker.queue({ priorities: [0, 5] });
    const { status, body } = await queue.batch(
      {
        messages: [
          { data: 1, priority: 5 },
          { data: 2, priority: 9 },
        ],
      },
      {
        prefer: "wait",
      },
    );
    expect([status, body.messages[0]?.partition]).toEqual([201, 1]);
    const refused = { status: 422, field: "messages[1].priority", limit: "0, 5" };
    expect(body.messages[1]?.error).toMatchObject(refused);
    const raw = await queue.publishRaw("x", { "Pennypost-Priority": "5", prefer: "wait" });
    expect(raw.body.messages[0]).toMatchObject({ partition: 1 });
    expect(await queue.publishRaw("x", { "Pennypost-Priority": "9" })).toMatchObject({
      ...{ status: 422, body: { field: "priority", limit: "0, 5" } },
    });
    for (const priorities of [[5, 9], [0, 0], [0, 10], []]) {
      expect(await broker.send("PUT", `${queue.path}-x`, { json: { priorities } })).toMatchObject({
        status: 400,
      });
    }
  });

  test("clause 16: an ordering key keeps its order within a priority, with two partitions of each", async () => {
    const queue = await broker.queue({ priorities: [0, 9], partitions: 2 });
    const keyed = [0, 1, 2, 3].flatMap((n) =>
      ["a", "b"].flatMap((orderingKey) =>
        [0, 9].map((priority) => ({ id: `${orderingKey}${priority}-${n}`, orderingKey, priority, data: n })),
      ),
    );
    await queue.publish(...keyed);
    const seen: Delivered[] = [];
    while (seen.length < keyed.length) {
      const some = await queue.pullAll(1);
      seen.push(...some);
      await queue.ack(some);
    }
    for (const line of ["a0", "a9", "b0", "b9"]) {
      const mine = ids(seen).filter((id) => id.startsWith(`${line}-`));
      expect(mine).toEqual([0, 1, 2, 3].map((n) => `${line}-${n}`));
    }
  });

  test("clause 16: webhooks of a low priority that are under way, or fail, hold up none of a higher one", async () => {
    const receiver = await broker.receiver();
    const { promise: held, resolve: release } = Promise.withResolvers<void>();
    const isLow = (id: string | null) => id?.startsWith("p0-") === true;
    receiver.answer(async (hook) => {
      if (isLow(idOf(hook))) await held;
      return { status: isLow(idOf(hook)) ? 503 : 204 };
    });
    const queue = await broker.queue({ priorities: [0, 9], ...pushTo(receiver, PATIENT) });
    await queue.publish(...of(0, 20));
    await receiver.first(1);
    await queue.publish(...of(9, 5));
    await broker.eventually("the high ones are delivered", async () => {
      const [, high] = await queue.stats();
      return high?.settled === 5 ? true : undefined;
    });
    release();
  });
});
