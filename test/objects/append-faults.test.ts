// An append that meets a fault, or a clock that goes back: messages and what is remembered of them stay one thing, and the
// log stays in order.

import { runInDurableObject } from "cloudflare:test";
import { expect, test } from "vitest";
import { unpackRecords } from "../../src/record-batch";
import type { TopicCalls } from "../../src/topic-calls";
import { message, newTopic, recordBatch, testRuntime, useRuntime, value } from "../support/objects";

type Write = (...args: readonly unknown[]) => void;
type Writes = {
  segments: Record<"insertRow", Write>;
  keys: Record<"insertAnswer" | "insertIds", Write>;
};

/** Lets `name` be carried out once, and then fail. */
async function failOnceAfter(topic: DurableObjectStub, name: "insertRow" | "insertAnswer" | "insertIds") {
  await runInDurableObject(topic, (instance) => {
    const { store } = instance as unknown as { store: Writes };
    const owner: Partial<Record<typeof name, Write>> = name === "insertRow" ? store.segments : store.keys;
    const write = owner[name]?.bind(owner);
    owner[name] = (...args) => {
      write?.(...args);
      delete owner[name];
      throw new Error("SQLITE_IOERR");
    };
  });
}

async function stored(topic: TopicCalls) {
  const { runs } = value(await topic.read({ from: 0, maxBytes: 4_000_000 }));
  return runs.map(({ firstOffset, storedAt, records }) => ({
    ...{ firstOffset, storedAt },
    ids: unpackRecords(records).map(({ id }) => id),
  }));
}

test.each(["insertAnswer", "insertIds", "insertRow"] as const)(
  "a fault after %s leaves neither a message nor the memory of it, and the retry is stored as the first",
  async (name) => {
    const { topic, generation, publish } = await newTopic();
    await publish("before");
    const batch = recordBatch(generation, [message("a"), message("b")], { a: "print of a" });
    await failOnceAfter(topic, name);
    // Called within the object: a fault that crosses a call would be reported as nobody's.
    const fault = await runInDurableObject(topic, (instance) =>
      (instance as unknown as TopicCalls).append({ batches: [batch] }).catch((error: Error) => error.message),
    );
    expect(fault).toBe("SQLITE_IOERR");
    expect((await stored(topic)).flatMap(({ ids }) => ids)).toEqual(["before"]);
    const [answer] = value(await topic.append({ batches: [batch] }));
    expect(answer).toMatchObject({ firstOffset: 1, count: 2, exceptions: [] });
    expect((await stored(topic)).flatMap(({ ids }) => ids)).toEqual(["before", "a", "b"]);
  },
);

test("while the clock goes back, offsets rise and no message is stored before the one before it", async () => {
  const { topic, publish } = await newTopic();
  const clock = testRuntime();
  await useRuntime(topic, clock);
  const began = clock.now();
  await publish("a");
  clock.advance(-3_600_000);
  await publish("b");
  clock.advance(3_600_001);
  await publish("c");
  expect(await stored(topic)).toEqual([
    { firstOffset: 0, storedAt: began, ids: ["a"] },
    { firstOffset: 1, storedAt: began, ids: ["b"] },
    { firstOffset: 2, storedAt: began + 1, ids: ["c"] },
  ]);
  const startAt = { at: "time", time: began } as const;
  expect(value(await topic.attach({ generation: "reader", startAt })).startOffset).toBe(0);
});
