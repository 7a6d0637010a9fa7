// What each path of the design costs, counted on the real objects, and the ceilings it must stay below. `npm run
// cost` runs this file and prints what it counted.

import { beforeAll, describe, expect, test, vi } from "vitest";
import type { SubscriptionSettings } from "../../src/settings";
import { CostCounter } from "../support/cost-counter";
import { bindings, newTopic } from "../support/objects";
import { type Counts, dollarsPerMillion } from "../support/prices";
import { BODY_BYTES, Scene } from "./scene";
import type { SceneTime } from "./scene-time";
import { ServedScene } from "./served-scene";

/** What was counted on one path, in total for `messages`. */
type PathCost = Readonly<{ name: string; messages: number; dollarsPerMillion: number }> &
  Pick<Counts, "rowsWritten" | "objectRequests" | "queueOperations" | "d1RowsWritten">;

declare module "vitest" {
  interface TaskMeta {
    cost?: PathCost;
    breakdown?: readonly (readonly [string, number])[];
  }
}

type Timed = Readonly<{ time: SceneTime }>;
type Walk = () => Promise<number>;
/** The most that one message may cost; dollars are for a million. */
type Ceilings = Partial<Record<keyof Counts | "dollars", number>>;

const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;
const BATCH = 100;
const BATCHES = 20;
const SUBSCRIPTIONS = 1_000;
const TEST_MS = 300_000;
const PRIORITIES = { priorities: [0, 5, 9] };

const push: Partial<SubscriptionSettings> = {
  type: "push",
  push: {
    url: "http://receiver.test/hook",
    headers: {},
    timeoutMs: 30_000,
    batchMaxMessages: 1,
    batchMaxWaitMs: 0,
    secrets: ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
  },
};

let counter: CostCounter;

beforeAll(async () => {
  const anyObject = await newTopic();
  counter = await CostCounter.install(anyObject.topic, bindings);
  vi.spyOn(globalThis, "fetch").mockImplementation(async (_, init) => {
    // A request is replied to, and anything else taken.
    const isRequest = new Headers(init?.headers).has("pennypost-reply-to");
    return isRequest ? new Response("x".repeat(BODY_BYTES)) : new Response(null, { status: 204 });
  });
});

describe("a message costs no more than its ceiling, removal by retention included", {
  timeout: TEST_MS,
}, () => {
  path("publish-accepted-100", { rowsWritten: 0.03, objectRequests: 0.011 }, async () => {
    const scene = await Scene.create(counter, {}, 0);
    return everySecond(scene, () => scene.publishAccepted(BATCH));
  });

  path("publish-push-100", { rowsWritten: 0.07, objectRequests: 0.05, dollars: 0.1 }, async () => {
    const scene = await Scene.create(counter, push);
    return everySecond(scene, () => scene.untilDelivered(BATCH, () => scene.publishAccepted(BATCH)));
  });

  path("publish-pull-ack-100", { rowsWritten: 0.07, objectRequests: 0.05 }, async () => {
    const scene = await Scene.create(counter);
    return everySecond(scene, async () => {
      await scene.publishAccepted(BATCH);
      expect(await scene.pullAndAck(BATCH)).toBe(BATCH);
    });
  });

  path("trickle-push", { rowsWritten: 6, objectRequests: 5, dollars: 8 }, async () => {
    const scene = await Scene.create(counter, push);
    return trickle(scene, 0, () => scene.untilDelivered(1, () => scene.publishStored(1)));
  });

  // Each message alone in the world: no alarm is shared, and the rows of a segment are shared by few.
  path("lonely-push", { rowsWritten: 6.2, objectRequests: 5.1, dollars: 8 }, async () => {
    const scene = await Scene.create(counter, push);
    return trickle(scene, 2 * MINUTE_MS, () => scene.untilDelivered(1, () => scene.publishStored(1)));
  });

  path(
    "effectively-once-push-100",
    { rowsWritten: 0.07, objectRequests: 0.05, d1RowsWritten: 4 },
    async () => {
      const scene = await Scene.create(counter, { ...push, guarantee: "effectively-once" });
      return everySecond(scene, () => scene.untilDelivered(BATCH, () => scene.publishAccepted(BATCH)));
    },
  );

  path("keyed-push-100", { rowsWritten: 0.15, objectRequests: 0.1 }, async () => {
    const keys = Array.from({ length: 10 }, (_, i) => `order-${i}`);
    const scene = await Scene.create(counter, push);
    return everySecond(scene, () => scene.untilDelivered(BATCH, () => scene.publishStored(BATCH, keys)));
  });

  // What a filter leaves out costs what it costs to publish, and a state row for each thousand.
  path("filtered-push-100", { rowsWritten: 0.03, objectRequests: 0.025 }, async () => {
    const scene = await Scene.create(counter, { ...push, filter: { subject: ["never"] } });
    return everySecond(scene, () => scene.untilNotified(() => scene.publishAccepted(BATCH)));
  });

  path("filtered-trickle", { rowsWritten: 4.1, objectRequests: 5 }, async () => {
    const scene = await Scene.create(counter, { ...push, filter: { subject: ["never"] } });
    return trickle(scene, 0, () => scene.untilNotified(() => scene.publishStored(1)));
  });

  // The second topic stores and removes what the first has; nothing else is written for it.
  path("forward-100", { rowsWritten: 0.08, objectRequests: 0.05, dollars: 0.11 }, async () => {
    const { direct } = await ServedScene.forward(counter);
    return everySecond(direct, () => direct.untilDelivered(BATCH, () => direct.publishAccepted(BATCH)));
  });

  // And a key for each message, by which the second topic knows it again.
  path("forward-effectively-once-100", { rowsWritten: 1.08, objectRequests: 0.05 }, async () => {
    const { direct } = await ServedScene.forward(counter, "effectively-once");
    return everySecond(direct, () => direct.untilDelivered(BATCH, () => direct.publishAccepted(BATCH)));
  });

  path("forward-trickle", { rowsWritten: 8, objectRequests: 6, dollars: 10 }, async () => {
    const { direct } = await ServedScene.forward(counter);
    return trickle(direct, 0, () => direct.untilDelivered(1, () => direct.publishStored(1)));
  });

  // Beside a trickle with client ids: an object for each request, which in the end forgets it.
  path("request-reply-push", { rowsWritten: 12, objectRequests: 9, dollars: 14 }, async () => {
    const endpoint = { url: "https://receiver.example/hook" };
    const scene = await ServedScene.create(counter, {}, { type: "push", endpoint });
    return trickle(scene, 0, () => scene.askAndHear());
  });

  path("request-reply-pull", { rowsWritten: 12, objectRequests: 11, dollars: 15 }, async () => {
    const scene = await ServedScene.create(counter, {}, {});
    return trickle(scene, 0, () => scene.askAndReply());
  });

  // What the highest priority fills costs what it costs without any, but for one pull in ten, which begins with the lowest.
  path("priorities-highest-100", { rowsWritten: 0.07, objectRequests: 0.06 }, async () => {
    return priorities([9]);
  });

  // Three logs are written and read, for a third of the messages each.
  path("priorities-mixed-100", { rowsWritten: 0.15, objectRequests: 0.14 }, async () => {
    return priorities([9, 5, 0]);
  });

  // A pull asks those above in vain, and each of them looks at its log.
  path("priorities-lowest-trickle", { rowsWritten: 6, objectRequests: 10 }, async () => {
    const scene = await ServedScene.create(counter, PRIORITIES, {});
    return trickle(scene, 0, async () => {
      await scene.publish(1, [0], { prefer: "wait" });
      expect(await scene.pullAndAck(1)).toBe(1);
    });
  });

  path("fanout-1000", {}, async () => {
    await fanout(1);
    const one = { ...counter.read(), calls: new Map(counter.breakdown()) };
    const messages = await fanout(SUBSCRIPTIONS);
    const many = { ...counter.read(), calls: new Map(counter.breakdown()) };
    // A notify for each further subscription and batch. And before the end, which nobody here has read to: each is told
    // what is removed, and writes two rows of its own, its state and its gap record.
    const further = SUBSCRIPTIONS - 1;
    const notifications = (further * messages) / BATCH;
    const more = (name: string, count: number) => one.calls.set(name, (one.calls.get(name) ?? 0) + count);
    more("objectRequests: subscription.notify", notifications);
    more("objectRequests: subscription.expire", further);
    for (const [name] of one.calls) if (/UPDATE state|INTO gaps/.test(name)) more(name, further);
    const objectRequests = one.objectRequests + notifications + further;
    expect(many).toEqual({ ...one, objectRequests, rowsWritten: one.rowsWritten + 2 * further });
    return messages;
  });
});

/** Walks a path, tells the reporter what it cost, and holds it to its ceilings. */
function path(name: string, ceilings: Ceilings, walk: Walk): void {
  test(name, async ({ task }) => {
    const messages = await walk();
    const counts = counter.read();
    const dollars = dollarsPerMillion(counts, messages);
    const { rowsWritten, objectRequests, queueOperations, d1RowsWritten } = counts;
    task.meta.cost = {
      ...{ name, messages, rowsWritten, objectRequests, queueOperations, d1RowsWritten },
      dollarsPerMillion: Number(dollars.toPrecision(4)),
    };
    task.meta.breakdown = counter.breakdown();
    const spent = { ...counts, dollars: dollars * messages };
    for (const [what, most] of Object.entries(ceilings)) {
      expect.soft(spent[what as keyof Ceilings] / messages, `${what} per message`).toBeLessThanOrEqual(most);
    }
  });
}

/** Batches of these priorities in turn, to a topic that has three and is pulled from. */
async function priorities(used: readonly number[]): Promise<number> {
  const scene = await ServedScene.create(counter, PRIORITIES, {});
  return everySecond(scene, async () => {
    await scene.publishAccepted(BATCH, used);
    expect(await scene.pullAndAck(BATCH)).toBe(BATCH);
  });
}

/** A busy topic: a batch each second, every alarm at its time, and in the end all of it removed. */
async function everySecond(scene: Timed, batch: () => Promise<void>, batches = BATCHES): Promise<number> {
  for (let i = 0; i < batches; i++) {
    await batch();
    await scene.time.advance(SECOND_MS);
  }
  await scene.time.advance(2 * MINUTE_MS);
  await scene.time.removeAll();
  return batches * BATCH;
}

/** A trickle: one message every 15 s and `pauseMs`, so that each finds the objects evicted. */
async function trickle(scene: Timed, pauseMs: number, publish: () => Promise<void>): Promise<number> {
  const messages = 50;
  for (let i = 0; i < messages; i++) {
    await publish();
    await scene.time.advance(15 * SECOND_MS);
    await scene.time.evict();
    await scene.time.advance(pauseMs);
    await scene.time.evict();
  }
  await scene.time.removeAll();
  return messages;
}

/** The publish side only: pull subscriptions are told, and nobody pulls. */
async function fanout(subscriptions: number): Promise<number> {
  const scene = await Scene.create(counter, {}, subscriptions);
  return everySecond(scene, () => scene.untilNotified(() => scene.publishAccepted(BATCH)), 5);
}
