// Clause 19: where a subscription that is made among publishes begins, by what its maker and the publishers were answered.

import { expect, test } from "vitest";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();

test("clause 19: one at the end begins after all that was answered before, and at or before all that is sent after", async () => {
  const topic = await broker.topic();
  const answered: number[] = [];
  let isOver = false;
  const publish = async () => {
    const [place] = await topic.publish({ data: "x" });
    if (place) answered.push(place.offset);
    return place?.offset ?? 0;
  };
  const publisher = async () => {
    while (!isOver) await publish();
  };
  await publish();
  const publishers = [publisher(), publisher(), publisher()];
  for (let made = 0; made < 5; made++) {
    const before = Math.max(...answered);
    const reader = await topic.subscribe({ startAt: "latest" });
    const after = await publish();
    const [place] = await reader.stats();
    expect(place?.startOffset).toBeGreaterThan(before);
    expect(place?.startOffset).toBeLessThanOrEqual(after);
  }
  isOver = true;
  await Promise.all(publishers);
  const last = await publish();
  const reader = await topic.subscribe({ startAt: "latest" });
  expect(await reader.stats()).toMatchObject([{ startOffset: last + 1, unread: 0 }]);
  const next = await publish();
  expect((await reader.pullAll(1)).map(({ offset }) => offset)).toEqual([next]);
});
