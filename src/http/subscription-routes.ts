// Subscriptions of a topic: create, read, change, list, delete; and, of those and of queues alike, pause, resume
// and stats.

import { z } from "zod";
import { deleteSubscription, putSubscription, setPaused } from "../catalog/subscription-lifecycle";
import { ok } from "../errors";
import { priorityShown } from "../priority";
import type { SubscriptionStats } from "../subscription-calls";
import { TERMS } from "../timeline-calls";
import { urlRules } from "./broker";
import { withVerification } from "./endpoint-verifying";
import { bindAnew, forwardTo } from "./forward-target-store";
import { healthView } from "./health-view";
import { checkOffsets, everyPartition, subscriptionAt } from "./partition-routes";
import {
  type SubscriptionPlace,
  subscriptionParams,
  subscriptionPlace,
  topicParams,
  withFresh,
} from "./place-routes";
import { type Route, reply, route } from "./route";
import { instant, listOf, page } from "./schemas";
import { secretsOf } from "./seal-store";
import { checkSubscription, startOf, subscriptionBody, subscriptionSettings } from "./subscription-schemas";
import { showSubscription, subscriptionShown } from "./subscription-views";

const tag = "Subscriptions";

export const subscriptionRoutes: readonly Route[] = [
  route({
    ...{ method: "get", path: "/v1/topics/{topic}/subscriptions", tag, access: ["consume", "manage"] },
    summary: "List a topic's subscriptions",
    params: topicParams,
    query: page,
    answers: {
      200: { description: "A page, by name.", schema: listOf("subscriptions", subscriptionShown) },
    },
    handle: async ({ broker: { catalog }, params, query }) => {
      const topic = await catalog.store.topic(params.topic);
      if (!topic.ok) return topic;
      const entries = await catalog.store.listSubscriptions(topic.value, query);
      const next = entries.length === query.limit ? (entries.at(-1)?.name ?? null) : null;
      return reply(200, { subscriptions: entries.map((entry) => showSubscription(entry)), next });
    },
  }),
  route({
    ...{ method: "put", path: subscriptionPlace.base, tag, access: ["manage"] },
    summary: "Create a subscription, or change its settings",
    description:
      "A pause stays as it is, and so does the signing secret when none is given. " +
      "To forward, it needs the scope to publish to the target, too.",
    params: subscriptionParams,
    body: subscriptionBody,
    answers: {
      200: { description: "It exists with these settings.", schema: subscriptionShown },
      201: { description: "It was created.", schema: subscriptionShown },
    },
    handle: async ({ broker, principal, params, body, request }) => {
      const rules = checkSubscription(body, urlRules(broker, request));
      if (!rules.ok) return rules;
      const target = await forwardTo(broker, principal, params.topic, body.forward);
      if (!target.ok) return target;
      const topic = await broker.catalog.store.topic(params.topic);
      if (!topic.ok) return topic;
      const startAt = startOf(body.startAt);
      const beyond =
        startAt.at === "offsets"
          ? checkOffsets("startAt.offsets", startAt.offsets, topic.value.partitions)
          : ok(null);
      if (!beyond.ok) return beyond;
      const { subscription: name } = params;
      const secrets = await secretsOf(broker, body);
      if (!secrets.ok) return secrets;
      const put = await putSubscription(broker.catalog, {
        ...{ topic: topic.value, name, startAt },
        settings: withVerification(broker, request, body, {
          ...subscriptionSettings(body),
          ...target.value,
        }),
        ...secrets.value,
      });
      if (!put.ok) return put;
      const secret = await secrets.value.shown?.(put.value.entry);
      return reply(put.value.created ? 201 : 200, showSubscription(put.value.entry, secret));
    },
  }),
  route({
    ...{ method: "get", path: subscriptionPlace.base, tag, access: ["consume", "manage"] },
    summary: "Show a subscription",
    params: subscriptionParams,
    answers: { 200: { description: "The subscription.", schema: subscriptionShown } },
    handle: async ({ broker, params }) => {
      const found = await subscriptionPlace.find(broker, params);
      return found.ok ? reply(200, showSubscription(found.value.subscription)) : found;
    },
  }),
  route({
    ...{ method: "delete", path: subscriptionPlace.base, tag, access: ["manage"] },
    summary: "Delete a subscription with what it holds",
    params: subscriptionParams,
    answers: { 204: { description: "It does not exist." } },
    handle: async ({ broker, params }) => {
      const topic = await broker.catalog.store.topic(params.topic);
      if (!topic.ok) return topic.error.code === "topic-not-found" ? reply(204, undefined) : topic;
      const deleted = await deleteSubscription(broker.catalog, topic.value, params.subscription);
      return deleted.ok ? reply(204, undefined) : deleted;
    },
  }),
];

// ── what a queue has too ─────────────────────────────────────────────────────────────────────────────

const terms = [...TERMS, "readmitted", "formerDead", "followers", "blockedLanes", "unread"] as const;
type Term = (typeof terms)[number];

const termFields = z.object(Object.fromEntries(terms.map((term) => [term, z.int()])));
const oldest = {
  endpoint: healthView,
  oldestDeathAt: instant.optional().meta({ description: "When the oldest dead letter died." }),
};
const stats = z
  .object({
    topic: z.string(),
    subscription: z.string(),
    total: termFields.extend({ paused: z.boolean(), stalled: z.boolean(), ...oldest }),
    partitions: z.array(
      termFields.extend({
        ...{ partition: z.int(), startOffset: z.int(), nextOffset: z.int(), head: z.int() },
        ...{ priority: z.int().optional(), epoch: z.int(), replay: z.int() },
        ...{ paused: z.boolean(), stalled: z.boolean(), ...oldest },
        gaps: z
          .array(z.object({ from: z.int(), to: z.int(), count: z.int(), at: instant }))
          .meta({ description: "Where retention overtook: count messages of those from from to to." }),
      }),
    ),
  })
  .meta({
    id: "Stats",
    description:
      "In every partition, and in each epoch anew, nextOffset - startOffset + readmitted = settled + filtered + expired + dead + purged + moved + leased + waiting.",
  });

/** Pause, resume and stats, below a subscription or a queue. */
export function readerRoutes({ base, tag, params, find }: SubscriptionPlace): readonly Route[] {
  const pausing = (verb: "pause" | "resume", summary: string) =>
    route({
      ...{ method: "post", path: `${base}/${verb}`, tag, access: ["manage"] },
      ...{ summary, params },
      answers: { 200: { description: "The subscription.", schema: subscriptionShown } },
      handle: async ({ broker, principal, params: path }) => {
        const found = await find(broker, path);
        if (!found.ok) return found;
        const { topic, subscription } = found.value;
        const bound = verb === "resume" ? await bindAnew(broker, principal, found.value) : ok(null);
        if (!bound.ok) return bound;
        const entry = await setPaused(broker.catalog, topic.name, subscription.name, verb === "pause");
        // Whoever resumes has looked at where it leads: what was left alone is probed at once.
        if (entry.ok && verb === "resume" && entry.value.settings.type !== "pull") {
          await everyPartition(entry.value.partitions, (at) =>
            subscriptionAt(broker, entry.value, at).probe(),
          );
        }
        return entry.ok ? reply(200, showSubscription(entry.value)) : entry;
      },
    });
  return [
    pausing("pause", "Stop handing out messages; nothing is lost"),
    pausing("resume", "Hand out messages again"),
    route({
      ...{ method: "get", path: `${base}/stats`, tag, access: ["consume", "manage"] },
      summary: "Count where the messages are",
      params,
      answers: { 200: { description: "The counters, in all and by partition.", schema: stats } },
      handle: async ({ broker, params: path }) => {
        const asked = await withFresh(
          broker,
          () => find(broker, path),
          async ({ topic, subscription }) => {
            const partitions = await everyPartition(topic.partitions, (partition) =>
              subscriptionAt(broker, subscription, partition).stats(),
            );
            if (!partitions.ok) return partitions;
            const names = { topic: topic.name, subscription: subscription.name };
            const shown = partitions.value.map((each) => ({
              ...each,
              ...priorityShown(topic, each.partition),
            }));
            return ok({ ...names, total: sum(partitions.value), partitions: shown });
          },
        );
        return asked.ok ? reply(200, asked.value) : asked;
      },
    }),
  ];
}

/** The counters of all partitions together. */
export function sum(partitions: readonly SubscriptionStats[]) {
  const of = (term: Term) => partitions.reduce((total, each) => total + each[term], 0);
  const deaths = partitions.flatMap(({ oldestDeathAt }) => oldestDeathAt ?? []);
  return {
    ...(Object.fromEntries(terms.map((term) => [term, of(term)])) as Record<Term, number>),
    paused: partitions.some(({ paused }) => paused),
    stalled: partitions.some(({ stalled }) => stalled),
    ...worstEndpoint(partitions),
    ...(deaths.length > 0 && { oldestDeathAt: Math.min(...deaths) }),
  };
}

const UNWELL = ["closed", "ramping", "probing", "open", "unverified"] as const;

function worstEndpoint(partitions: readonly SubscriptionStats[]) {
  const views = partitions.flatMap(({ endpoint }) => endpoint ?? []);
  const [worst] = [...views].sort((a, b) => UNWELL.indexOf(b.state) - UNWELL.indexOf(a.state));
  return worst ? { endpoint: worst } : {};
}
