// Retention of a topic that is silent for a while: what limits.segmentsPerRetention promises holds there too.

import { runDurableObjectAlarm } from "cloudflare:test";
import { expect, test } from "vitest";
import { newTopic, testRuntime, useRuntime, value } from "../support/objects";

const retentionMs = 80_000;
const longestMs = retentionMs + retentionMs / 8;

async function quietTopic() {
  const { topic, publish } = await newTopic({ retentionMs });
  const clock = testRuntime();
  await useRuntime(topic, clock);
  return { topic, publish, clock };
}

test("a message outlives its retention by at most an eighth, also when nothing was published for long after it", async () => {
  const { topic, publish, clock } = await quietTopic();
  await publish("old");
  clock.advance(retentionMs);
  await publish("new");
  clock.advance(longestMs - retentionMs + 1);
  await runDurableObjectAlarm(topic);
  expect(value(await topic.stats())).toMatchObject({ earliest: 1, head: 2 });
});

test("the last message of a topic outlives its retention by at most an eighth", async () => {
  const { topic, publish, clock } = await quietTopic();
  await publish("last");
  clock.advance(longestMs + 1);
  await runDurableObjectAlarm(topic);
  await runDurableObjectAlarm(topic);
  expect(value(await topic.stats())).toMatchObject({ earliest: 1, head: 1 });
});
