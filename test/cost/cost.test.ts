// What each path of the design costs, counted on the real objects, and the ceilings it must stay below. `npm run
// cost` runs this file and prints what it counted.

import { beforeAll, describe, expect, test, vi } from "vitest";
import type { SubscriptionSettings } from "../../src/settings";
import { CostCounter } from "../support/cost-counter";
import { bindings, newTopic } from "../support/objects";
import { type Counts, dollarsPerMillion } from "../support/prices";
import { Scene } from "./scene";

/** What was counted on one path, in total for `messages`. */
type PathCost = Readonly<{ name: string; messages: number; dollarsPerMillion: number }> &
  Pick<Counts, "rowsWritten" | "objectRequests" | "queueOperations" | "d1RowsWritten">;

declare module "vitest" {
  interface TaskMeta {
    cost?: PathCost;
    breakdown?: readonly (readonly [string, number])[];
  }
}

type Walk = () => Promise<number>;
/** The most that one message may cost; dollars are for a million. */
type Ceilings = Partial<Record<keyof Counts | "dollars", number>>;

const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;
const BATCH = 100;
const BATCHES = 20;
const SUBSCRIPTIONS = 1_000;
const TEST_MS = 300_000;

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
  vi.spyOn(globalThis, "fetch").mockImplementation(async () => new Response(null, { status: 204 }));
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

/** A busy topic: a batch each second, every alarm at its time, and in the end all of it removed. */
async function everySecond(scene: Scene, batch: () => Promise<void>, batches = BATCHES): Promise<number> {
  for (let i = 0; i < batches; i++) {
    await batch();
    await scene.advance(SECOND_MS);
  }
  await scene.advance(2 * MINUTE_MS);
  await scene.removeAll();
  return batches * BATCH;
}

/** A trickle: one message every 15 s and `pauseMs`, so that each finds the objects evicted. */
async function trickle(scene: Scene, pauseMs: number, publish: () => Promise<void>): Promise<number> {
  const messages = 50;
  for (let i = 0; i < messages; i++) {
    await publish();
    await scene.advance(15 * SECOND_MS);
    await scene.evict();
    await scene.advance(pauseMs);
    await scene.evict();
  }
  await scene.removeAll();
  return messages;
}

/** The publish side only: pull subscriptions are told, and nobody pulls. */
async function fanout(subscriptions: number): Promise<number> {
  const scene = await Scene.create(counter, {}, subscriptions);
  return everySecond(scene, () => scene.untilNotified(() => scene.publishAccepted(BATCH)), 5);
}
