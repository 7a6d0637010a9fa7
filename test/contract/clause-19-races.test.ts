// Clause 19 under load: topics and subscriptions that are deleted, and created again under their names, while they are
// published to and read.

import { describe, expect, test } from "vitest";
import { codeOf, unique } from "../support/contract-client";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();
const ENDED = ["topic-not-found", "subscription-not-found", "gone"];
const batch = (life: string, n: number) =>
  Array.from({ length: 5 }, (_, i) => ({ id: `${life}-${n}-${i}`, data: n }));

describe("clause 19", () => {
  test("clause 19: a topic that is deleted under load answers every publish as stored or as not there", async () => {
    const name = unique("topic");
    const topic = await broker.topic({ partitions: 3 }, name);
    await topic.subscribe();
    const publishing = Array.from({ length: 20 }, (_, n) =>
      topic.batch({ messages: batch("one", n) }, n % 2 === 0 ? { prefer: "wait" } : {}),
    );
    const deleted = broker.send("DELETE", topic.path);
    for (const { status, body } of await Promise.all(publishing)) {
      if (status === 201 || status === 202) {
        for (const { error } of body.messages) if (error) expect(ENDED).toContain(codeOf(error));
      } else expect([status, ENDED]).toEqual([status, expect.arrayContaining([codeOf(body)])]);
    }
    expect((await deleted).status).toBe(204);
    expect((await broker.send("GET", topic.path)).status).toBe(404);
  });

  test("clause 19: what was published to one life of a name reaches no reader of the next, however they overlap", async () => {
    const name = unique("topic");
    const topic = await broker.topic({}, name);
    await topic.subscribe({}, "audit");
    const former = Array.from({ length: 10 }, (_, n) => topic.batch({ messages: batch("former", n) }));
    await broker.call("DELETE", topic.path);
    await Promise.all(former);
    await broker.call("PUT", topic.path, { json: {} });
    const reader = await topic.subscribe({}, "audit");
    await topic.publish(...batch("next", 0));
    const seen = await reader.pullAll(5);
    expect(seen.every(({ id }) => id.startsWith("next"))).toBe(true);
    expect(await reader.pull({ waitMs: 500 })).toEqual([]);
  });

  test("clause 19: a pull that waits when its subscription is deleted is answered, and acks of before settle nothing after", async () => {
    const topic = await broker.topic();
    const former = await topic.subscribe({}, "audit");
    await topic.publish({ id: "a", data: 1 });
    const held = await former.pullAll(1);
    const waiting = broker.send("POST", `${former.path}/pull`, { json: { waitMs: 20_000 } });
    await broker.call("DELETE", former.path);
    const answer = await waiting;
    expect([404, 410]).toContain(answer.status);
    const next = await topic.subscribe({}, "audit");
    expect(await next.ack(held)).toEqual(["lease-lost"]);
    expect((await next.pullAll(1)).map(({ id, attempt }) => [id, attempt])).toEqual([["a", 1]]);
  });

  test("clause 19: a subscription that is created among publishes misses nothing past its start, and gets nothing before it", async () => {
    const topic = await broker.topic();
    const publishing = (async () => {
      for (let n = 0; n < 8; n++) await topic.publish(...batch("m", n));
    })();
    const reader = await topic.subscribe({ startAt: "latest" });
    await publishing;
    const [place] = await reader.stats();
    const expected = 40 - (place?.startOffset ?? 0);
    const seen = expected === 0 ? [] : await reader.pullAll(expected);
    expect(seen.map(({ offset }) => offset)).toEqual(
      Array.from({ length: expected }, (_, i) => 40 - expected + i),
    );
  });
});
