// One message: where it is stored, and for every subscription where it is and why it has not arrived.

import { type ZodType, z } from "zod";
import type { SubscriptionEntry, TopicEntry } from "../catalog/catalog-entry";
import { ok, type Result } from "../errors";
import { limits } from "../limits";
import { messageJson } from "../message-json";
import { priorityShown } from "../priority";
import { unpackRecords } from "../record-batch";
import type { Whereabouts } from "../timeline-calls";
import type { Broker } from "./broker";
import { attempt } from "./dead-letter-schemas";
import { healthView } from "./health-view";
import type { PathParams, TopicPlace } from "./place-routes";
import { problemOf } from "./problem";
import type { FoundAt } from "./publish";
import { type Route, reply, route } from "./route";
import {
  instant,
  messageFields,
  messageId,
  name,
  page,
  place,
  placeText,
  problem,
  queryNumber,
} from "./schemas";
import { type Located, locate, traceAll } from "./timeline-store";

/** A place has a '.', which no message id has. */
const sought = z
  .union([place.transform((at) => ({ place: at })), messageId.transform((id) => ({ id }))])
  .meta({ type: "string", description: "The message id, or `{partition}.{offset}`.", example: "0.42" });

const query = page.extend({
  subscription: name.optional().meta({ description: "Only this subscription." }),
  partition: queryNumber(0, limits.partitions - 1)
    .optional()
    .meta({ description: "Where to look for an id: ids are unique in their partition." }),
  from: queryNumber(0, Number.MAX_SAFE_INTEGER)
    .optional()
    .meta({ description: "With `partition`: look through the log from this offset on." }),
  body: z.enum(["true", "false"]).default("true").meta({ description: "Whether to show the message." }),
});
type Query = z.output<typeof query>;

const STATES = [
  "unread",
  "leased",
  "waiting",
  "blocked",
  "dead",
  "settled",
  "filtered",
  "expired",
  "purged",
  "moved",
  "before-start",
  "forgotten",
  "unaccounted",
] as const satisfies readonly Whereabouts["state"][];

const onItsWay = z
  .object({
    subscription: z.string(),
    state: z.enum(STATES).optional(),
    why: z.string().optional().meta({ description: "The same in a sentence." }),
    ahead: z.int().optional().meta({ description: "unread: messages to be taken before it." }),
    leaseId: z.string().optional(),
    deadlineAt: instant.optional(),
    attempt: z.int().optional().meta({ description: "leased: which attempt this is." }),
    availableAt: instant.optional().meta({ description: "waiting: when it is due." }),
    attempts: z.int().optional(),
    history: z.array(attempt).optional().meta({ description: "The newest attempts that failed." }),
    behind: z
      .object({ offset: z.int(), state: z.enum(["leased", "waiting", "dead", "blocked"]) })
      .optional()
      .meta({ description: "What of its ordering key goes before it." }),
    parked: z.boolean().optional(),
    diedAt: instant.optional(),
    reason: z
      .string()
      .optional()
      .meta({ description: "dead: why. waiting: why it was not sent, where that is known." }),
    detail: z.string().optional(),
    how: z
      .string()
      .optional()
      .meta({ description: "settled: acked, delivered, already-completed, handed-out." }),
    at: instant.optional().meta({ description: "When it was done with." }),
    status: z.int().optional().meta({ description: "What the endpoint answered." }),
    version: z
      .int()
      .optional()
      .meta({ description: "filtered: of the subscription, with the filter that left it out." }),
    startOffset: z.int().optional(),
    ...{ paused: z.boolean().optional(), pausedReason: z.string().optional() },
    endpoint: healthView,
    ...{ stalled: z.boolean().optional(), inFlightFull: z.boolean().optional() },
    error: problem.optional().meta({ description: "It could not be asked." }),
  })
  .meta({ id: "Whereabouts" });

const timeline = z
  .object({
    state: z.enum(["stored", "expired", "rejected", "scheduled", "cancelled"]).meta({
      description:
        "expired: retention removed the message. rejected: it was refused after a 202. scheduled: it is delayed, " +
        "and has no offset yet. cancelled: before it had one.",
    }),
    scheduledFor: instant.optional(),
    partition: z.int().optional(),
    priority: z.int().optional().meta({ description: "Of a topic that has priorities." }),
    offset: z.int().optional(),
    storedAt: instant.optional(),
    message: z.object(messageFields).omit({ partition: true, offset: true }).optional(),
    subscriptions: z.array(onItsWay),
    next: z.string().nullable().meta({ description: "The `after` of the next page of subscriptions." }),
    rejections: z.array(z.object({ partition: z.int(), rejectedAt: instant, error: problem })),
  })
  .meta({ id: "Timeline" });

/** The path of a message's timeline: what a duplicate's publisher is shown. */
export function timelinePath({ kind, name }: TopicEntry, at: FoundAt): string {
  const messages = `/v1/${kind === "queue" ? "queues" : "topics"}/${name}/messages`;
  if ("offset" in at) return `${messages}/${placeText(at)}`;
  return `${messages}/${encodeURIComponent(at.id)}?partition=${at.partition}`;
}

export function timelineRoutes({ base, tag, params, findTopic }: TopicPlace): readonly Route[] {
  const one = params.extend({ id: sought }) as unknown as ZodType<
    PathParams & { id: z.output<typeof sought> }
  >;
  return [
    route({
      ...{ method: "get", path: `${base}/messages/{id}`, tag, access: ["consume", "manage"] },
      summary: "Show a message, and where it is on its way to each subscription",
      params: one,
      query,
      answers: { 200: { description: "The message and its timeline.", schema: timeline } },
      handle: async ({ broker, params: { id, ...path }, query }) => {
        const topic = await findTopic(broker, path);
        if (!topic.ok) return topic;
        const { partition, from } = query;
        const located = await locate(broker, topic.value, "id" in id ? { ...id, partition, from } : id);
        if (!located.ok) return located;
        const readers = await readersOf(broker, topic.value, query);
        if (!readers.ok) return readers;
        return reply(200, await show(broker, topic.value, located.value, readers.value, query));
      },
    }),
  ];
}

type Readers = Readonly<{ entries: readonly SubscriptionEntry[]; next: string | null }>;

async function readersOf(broker: Broker, topic: TopicEntry, query: Query): Promise<Result<Readers>> {
  const { store } = broker.catalog;
  if (query.subscription !== undefined) {
    const entry = await store.subscription(topic, query.subscription);
    return entry.ok ? ok({ entries: [entry.value], next: null }) : entry;
  }
  const entries = await store.listSubscriptions(topic, query);
  return ok({ entries, next: entries.length === query.limit ? (entries.at(-1)?.name ?? null) : null });
}

async function show(broker: Broker, topic: TopicEntry, located: Located, readers: Readers, query: Query) {
  const { place, run, delayed, rejections } = located;
  const partition = place?.partition ?? delayed?.partition;
  const record = run?.records ?? (delayed && "record" in delayed ? delayed.record : undefined);
  const [message] = record ? unpackRecords(record) : [];
  const { orderingKey } = message ?? {};
  const subscriptions =
    place === undefined
      ? []
      : await traceAll(broker, readers.entries, place.partition, {
          offset: place.offset,
          ...(orderingKey !== undefined && { orderingKey }),
        });
  return {
    state: stateOf(located),
    ...place,
    ...(delayed && { partition: delayed.partition }),
    ...(partition !== undefined && priorityShown(topic, partition)),
    ...(delayed && "record" in delayed && { scheduledFor: delayed.scheduledFor }),
    ...(run && { storedAt: run.storedAt }),
    ...(message && query.body === "true" && { message: messageJson(message) }),
    subscriptions,
    next: place === undefined ? null : readers.next,
    rejections: rejections.map(({ partition, rejection: { rejectedAt, error } }) => ({
      ...{ partition, rejectedAt, error: problemOf(error) },
    })),
  };
}

function stateOf({ place, run, delayed }: Located): string {
  if (place) return run ? "stored" : "expired";
  if (delayed) return "record" in delayed ? "scheduled" : "cancelled";
  return "rejected";
}
