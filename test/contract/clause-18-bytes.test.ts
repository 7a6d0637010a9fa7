// Clause 18: what a partition keeps in bytes, whom a full one names, and what its stats say.

import { expect, test } from "vitest";
import { codeOf, type Topic } from "../support/contract-client";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();
const retentionBytes = 25_165_824;
const BODY = "x".repeat(1_040_000);
const FILL = 25;

async function fill(topic: Pick<Topic, "publishRaw">, times: number): Promise<void> {
  for (let i = 0; i < times; i++) {
    const { status, body } = await topic.publishRaw(BODY, { prefer: "wait" });
    if (status !== 201) throw new Error(`a publish answered ${status}: ${JSON.stringify(body)}`);
  }
}

test("clause 18: a partition keeps 5 GB unless the topic says otherwise, and bounds that no partition can keep are refused", async () => {
  const topic = await broker.topic();
  expect(await broker.call("GET", topic.path)).toMatchObject({ retentionBytes: 5_000_000_000 });
  for (const bytes of [retentionBytes - 1, 8_000_000_001]) {
    const { status, body } = await broker.send("PUT", topic.path, { json: { retentionBytes: bytes } });
    expect([status, codeOf(body), body.field]).toEqual([400, "invalid-request", "retentionBytes"]);
  }
  const changed = await broker.call("PUT", topic.path, { json: { retentionBytes } });
  expect(changed).toMatchObject({ retentionBytes, version: 2 });
});

test("clause 18: a full partition refuses, naming the subscription that holds the space, and what that settles makes room", async () => {
  const topic = await broker.topic({ retentionBytes });
  const slow = await topic.subscribe({}, "slow");
  await fill(topic, FILL);
  const { status, headers, body } = await topic.publishRaw("one too many", { prefer: "wait" });
  expect([status, codeOf(body), body.field, body.retryable]).toEqual([
    429,
    "topic-full",
    "retentionBytes",
    true,
  ]);
  expect(body.detail).toContain('"slow"');
  expect(Number(headers.get("retry-after"))).toBeGreaterThan(0);
  await slow.ack(await slow.pullAll(FILL));
  const stored = await broker.eventually("room is made", async () => {
    const again = await topic.publishRaw("it fits now", { prefer: "wait" });
    return again.status === 201 ? again.body : undefined;
  });
  expect(stored.messages).toMatchObject([{ offset: FILL }]);
  const { partitions } = await broker.call<{ partitions: { earliest: number; messageBytes: number }[] }>(
    "GET",
    `${topic.path}/stats`,
  );
  expect(partitions[0]?.earliest).toBeGreaterThan(0);
  expect(partitions[0]?.messageBytes).toBeLessThan(retentionBytes);
  expect(await slow.stats()).toMatchObject([{ expired: 0, settled: FILL, gaps: [] }]);
});

test("clause 18: nothing within the period is removed for want of room while nobody subscribes", async () => {
  const topic = await broker.topic({ retentionBytes });
  await fill(topic, FILL);
  const { status, body } = await topic.publishRaw("one too many", { prefer: "wait" });
  expect([status, codeOf(body)]).toEqual([429, "topic-full"]);
  expect(body.detail).toContain("nobody subscribes");
  const late = await topic.subscribe();
  expect((await late.pullAll(FILL)).map(({ offset }) => offset)).toEqual([...Array(FILL).keys()]);
});
