// Clause 6 over HTTP: a topic that refuses for space says so, so that what is accepted would not only wait for it.

import { expect, test } from "vitest";
import { codeOf } from "../support/contract-client";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();
const retentionBytes = 25_165_824;
const BODY = "x".repeat(1_040_000);
const FILL = 25;
/** Longer than the topic asks INGRESS to wait. */
const RETRIED_MS = 20_000;

test("clause 6: a full topic has accepted publishes refused, and those that were accepted before arrive when there is room", async () => {
  const topic = await broker.topic({ retentionBytes });
  const subscription = await topic.subscribe();
  for (let i = 0; i < FILL; i++) await topic.publishRaw(BODY, { prefer: "wait" });
  let accepted = 0;
  const refused = await broker.eventually("an accepted publish is refused", async () => {
    const answer = await topic.publishRaw(`accepted ${accepted}`);
    if (answer.status === 202) accepted += 1;
    return answer.status === 429 ? answer : undefined;
  });
  expect([codeOf(refused.body), refused.body.retryable]).toEqual(["topic-full", true]);
  expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0);
  expect(accepted).toBeGreaterThan(0);
  await subscription.ack(await subscription.pullAll(FILL));
  const late = await subscription.pullAll(accepted, { waitMs: RETRIED_MS });
  expect(new Set(late.map(({ data }) => data)).size).toBe(accepted);
});
