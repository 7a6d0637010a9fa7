// Clause 18: how long a message is kept. Removal itself is tested where a test may set the clock.

import { expect, test } from "vitest";
import { codeOf } from "../support/contract-client";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();

test("clause 18: messages are kept for seven days unless the topic says otherwise", async () => {
  const topic = await broker.topic();
  expect(await broker.call("GET", topic.path)).toMatchObject({ retentionMs: 7 * 86_400_000 });
});

test("clause 18: a retention that no clock could keep is refused", async () => {
  const topic = await broker.topic();
  for (const retentionMs of [0, 59_999, 366 * 86_400_000]) {
    const { status, body } = await broker.send("PUT", topic.path, { json: { retentionMs } });
    expect([status, codeOf(body), body.field]).toEqual([400, "invalid-request", "retentionMs"]);
  }
});
