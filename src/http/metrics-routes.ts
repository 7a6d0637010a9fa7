// The metrics: a scrape asks a bounded number of objects, and says when that was not all of them.

import { z } from "zod";
import type { SubscriptionEntry, TopicEntry } from "../catalog/catalog-entry";
import { inParallel } from "../catalog/entry-lifecycle";
import type { Result } from "../errors";
import { limits } from "../limits";
import type { Broker } from "./broker";
import { renderMetrics, type SubscriptionSample, type TopicSample } from "./metrics";
import { everyPartition, subscriptionAt, topicAt } from "./partition-routes";
import { type Route, route } from "./route";

type Scope = { topics: TopicEntry[]; subscriptions: SubscriptionEntry[]; truncated: boolean };

export const metricsRoute: Route = route({
  ...{ method: "get", path: "/metrics", tag: "Operate", access: ["manage"] },
  summary: "Prometheus metrics",
  description: `Needs the scope to manage every topic. Asks at most ${limits.metricsObjects} objects; pennypost_metrics_truncated says when there are more.`,
  answers: { 200: { description: "The text format.", schema: z.string(), contentType: "text/plain" } },
  handle: async ({ broker }) => {
    const [counts, scope] = await Promise.all([broker.catalog.store.counts(), scopeOf(broker)]);
    const topics: TopicSample[] = [];
    const subscriptions: SubscriptionSample[] = [];
    let unreached = 0;
    await inParallel(scope.topics, async (entry) => {
      const stats = await tryAll(entry.partitions, (partition) => topicAt(broker, entry, partition).stats());
      if (stats.ok) topics.push({ topic: entry.name, stats: stats.value });
      else unreached += 1;
    });
    await inParallel(scope.subscriptions, async (entry) => {
      const stats = await tryAll(entry.partitions, (partition) =>
        subscriptionAt(broker, entry, partition).stats(),
      );
      if (stats.ok) subscriptions.push({ topic: entry.topic, subscription: entry.name, stats: stats.value });
      else unreached += 1;
    });
    const samples = { counts, topics, subscriptions, truncated: scope.truncated, unreached };
    return new Response(renderMetrics(samples), { headers: { "content-type": "text/plain; version=0.0.4" } });
  },
});

/** Topics and their subscriptions by name, as many as have limits.metricsObjects objects together. */
async function scopeOf({ catalog: { store } }: Broker): Promise<Scope> {
  const scope: Scope = { topics: [], subscriptions: [], truncated: false };
  let objects = 0;
  const fits = ({ partitions }: { partitions: number }) => {
    objects += partitions;
    scope.truncated ||= objects > limits.metricsObjects;
    return !scope.truncated;
  };
  const take = async (topic: TopicEntry) => {
    if (!fits(topic)) return;
    scope.topics.push(topic);
    for await (const subscription of pages((after) =>
      store.listSubscriptions(topic, { after, limit: limits.pageItems }),
    )) {
      if (!fits(subscription)) return;
      scope.subscriptions.push(subscription);
    }
  };
  for await (const topic of pages((after) => store.listTopics({ after, limit: limits.pageItems }))) {
    await take(topic);
    if (scope.truncated) break;
  }
  return scope;
}

async function* pages<T extends { name: string }>(
  read: (after: string | undefined) => Promise<readonly T[]>,
) {
  for (let after: string | undefined; ; ) {
    const page = await read(after);
    yield* page;
    after = page.at(-1)?.name;
    if (page.length < limits.pageItems) return;
  }
}

/** One topic or subscription that fails leaves the others to be seen. */
async function tryAll<T>(
  partitions: number,
  ask: (partition: number) => Promise<Result<T>>,
): Promise<Result<readonly T[]>> {
  return everyPartition(partitions, ask).catch((fault: unknown) => ({
    ok: false as const,
    error: { code: "unavailable" as const, detail: String(fault) },
  }));
}
