// The dispatcher as the platform runs it: real clock, real catalog and objects, only the network is played.
import { createExecutionContext, waitOnExecutionContext } from "cloudflare:test";
import { env as testEnv } from "cloudflare:workers";
import { afterEach, describe, expect, it, vi } from "vitest";
import { CatalogStore } from "../../src/catalog/catalog-store";
import { putSubscription } from "../../src/catalog/subscription-lifecycle";
import { putTopic } from "../../src/catalog/topic-lifecycle";
import type { Env } from "../../src/env";
import { ok, type Result } from "../../src/errors";
import { objectName } from "../../src/object-name";
import { Dispatcher } from "../../src/push/dispatcher";
import { packRecords } from "../../src/record-batch";
import type { ReportCall } from "../../src/report-calls";
import { systemRuntime } from "../../src/runtime";
import {
  defaultSubscriptionSettings,
  defaultTopicSettings,
  type Guarantee,
  type SubscriptionSettings,
} from "../../src/settings";
import type { SubscriptionCalls } from "../../src/subscription-calls";
import { SECRET } from "./dispatch-world";

const env = testEnv as unknown as Env;
const store = new CatalogStore(env.CATALOG, systemRuntime, () => undefined);
const catalog = { env, store, runtime: systemRuntime };
const utf8 = new TextEncoder();

afterEach(() => void vi.restoreAllMocks());

function must<T>(result: Result<T>): T {
  if (!result.ok) throw new Error(result.error.detail);
  return result.value;
}

function settingsFor(url: string, guarantee: Guarantee = "at-least-once"): SubscriptionSettings {
  const push = {
    url,
    headers: { authorization: "Bearer hunter2" },
    timeoutMs: 5_000,
    batchMaxMessages: 1,
    batchMaxWaitMs: 0,
    secrets: [SECRET],
  };
  return { ...defaultSubscriptionSettings, type: "push", guarantee, push };
}

/** A push subscription in the real catalog. */
async function subscribed(topicName: string, settings: SubscriptionSettings) {
  const wanted = { name: topicName, kind: "topic", partitions: 1, settings: defaultTopicSettings } as const;
  const topic = must(await putTopic(catalog, wanted)).entry;
  const made = { topic, name: "reader", settings, startAt: { at: "latest" } } as const;
  return { topic, entry: must(await putSubscription(catalog, made)).entry };
}

/** Runs one dispatch to its end, with the work it left behind, and answers its reports. */
async function deliver(topic: string, generation: string, settings: SubscriptionSettings, log = "off") {
  const reports: ReportCall[] = [];
  const names: string[] = [];
  const recording = {
    ...env,
    LOG: log,
    SUBSCRIPTION: {
      getByName(name: string) {
        const real = env.SUBSCRIPTION.getByName(name);
        return {
          configure: (call) => real.configure(call),
          report: async (call) => {
            names.push(name);
            reports.push(call);
            return ok(null);
          },
        } as SubscriptionCalls;
      },
    },
  } satisfies Env;
  const message = { id: "m0", publishedAt: 0, contentType: "text/plain", body: utf8.encode("hello") };
  const lease = {
    leaseId: systemRuntime.newId(),
    deadlineAt: systemRuntime.now() + 60_000,
    deliveries: [{ offset: 0, attempt: 1 }],
    records: packRecords([message]),
  };
  const ctx = createExecutionContext();
  const dispatcher = new Dispatcher(ctx, recording);
  const from = { topic, subscription: "reader", generation, partition: 0, replay: 0 };
  await dispatcher.deliver({ ...from, settings, lease }, async () => true);
  await waitOnExecutionContext(ctx);
  return { reports, names };
}

const answering = (answer: () => Response) =>
  vi.spyOn(globalThis, "fetch").mockImplementation(async () => answer());

describe("the dispatcher", () => {
  it("posts to the endpoint and reports to the object that leased", async () => {
    const fetched = answering(() => new Response("thanks"));
    const settings = settingsFor("http://127.0.0.1:9/hooks", "effectively-once");
    const { reports, names } = await deliver("entry-posts", "generation-posts", settings);
    expect(fetched).toHaveBeenCalledTimes(1);
    expect(fetched.mock.calls[0]?.[0]).toBe("http://127.0.0.1:9/hooks");
    expect(names).toEqual([objectName("generation-posts", 0)]);
    expect(reports).toMatchObject([{ done: true, outcomes: [{ offset: 0, result: "delivered" }] }]);
  });

  it("logs one JSON line that names no URL and no secret", async () => {
    answering(() => new Response("no", { status: 500 }));
    const logged = vi.spyOn(console, "log").mockImplementation(() => undefined);
    await deliver("entry-logs", "generation-logs", settingsFor("http://127.0.0.1:9/?token=hunter2"), "on");
    const lines = logged.mock.calls.map(([line]) => String(line));
    expect(lines.map((line) => JSON.parse(line))).toMatchObject([
      { event: "dispatch", topic: "entry-logs", subscription: "reader", count: 1, failed: 1 },
    ]);
    expect(lines.join()).not.toMatch(/hunter2|127\.0\.0\.1|whsec/);
  });

  it("reports a real refused connection as a failed attempt", async () => {
    const { reports } = await deliver(
      "entry-refused",
      "generation-refused",
      settingsFor("http://127.0.0.1:9/"),
    );
    expect(reports).toMatchObject([{ done: true, outcomes: [{ offset: 0, result: "failed" }] }]);
  });
});

describe("an endpoint that is gone", () => {
  const pausedOf = async (topicName: string) => {
    store.forget(topicName);
    const { settings } = must(await store.subscription(must(await store.topic(topicName)), "reader"));
    return [settings.paused, settings.pausedReason];
  };

  it("pauses its subscription in the catalog, with the reason", async () => {
    answering(() => new Response(null, { status: 410 }));
    const settings = settingsFor("http://127.0.0.1:9/gone");
    const { entry } = await subscribed("entry-gone", settings);
    const { reports } = await deliver("entry-gone", entry.generation, settings);
    expect(reports).toMatchObject([{ done: true, endpointGone: true }]);
    expect(await pausedOf("entry-gone")).toEqual([true, "endpoint-gone"]);
  });

  it("does not pause a subscription of the same name that was made since", async () => {
    answering(() => new Response(null, { status: 410 }));
    const settings = settingsFor("http://127.0.0.1:9/gone");
    await subscribed("entry-remade", settings);
    await deliver("entry-remade", "an older generation", settings);
    expect(await pausedOf("entry-remade")).toEqual([false, undefined]);
  });

  it("does not pause a subscription that has got another endpoint since", async () => {
    answering(() => new Response(null, { status: 410 }));
    const settings = settingsFor("http://127.0.0.1:9/gone");
    const { topic, entry } = await subscribed("entry-moved", settings);
    const moved = settingsFor("http://127.0.0.1:9/moved");
    must(
      await putSubscription(catalog, { topic, name: "reader", settings: moved, startAt: { at: "latest" } }),
    );
    await deliver("entry-moved", entry.generation, settings);
    expect(await pausedOf("entry-moved")).toEqual([false, undefined]);
  });
});
