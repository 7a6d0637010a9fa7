// Delayed messages until they are due: listed, cancelled and moved by id. The same below a topic and a queue.

import { type ZodType, z } from "zod";
import type { TopicEntry } from "../catalog/catalog-entry";
import { ok, type Result, refuse } from "../errors";
import { limits } from "../limits";
import { messageJson } from "../message-json";
import { layoutOf } from "../priority";
import { partitionOf, unpackRecords } from "../record-batch";
import type { DelayedPage, TopicCalls } from "../topic-calls";
import type { Broker } from "./broker";
import { checkPartition, everyPartition, topicAt } from "./partition-routes";
import { type PathParams, type TopicPlace, withFresh } from "./place-routes";
import { type Route, reply, route } from "./route";
import { askedInstant, instant, listOf, messageFields, messageId, queryNumber, whole } from "./schemas";
import { asksForDelay, dueAt, readTiming } from "./timing";

const AFTER = /^(0|[1-9]\d{0,15})\.(0|[1-9]\d{0,15})$/;
const afterPlace = z
  .string()
  .regex(AFTER, "the `next` of the page before is needed")
  .transform((value) => {
    const [, deliverAt, number] = AFTER.exec(value) ?? [];
    return { deliverAt: Number(deliverAt), number: Number(number) };
  })
  .meta({ type: "string", description: "The `next` of the page before." });

const partition = queryNumber(0, limits.partitions - 1);
const where = z.strictObject({
  partition: partition.optional().meta({
    description:
      "Where the message is, as its publish was answered. Without it every partition may be asked.",
  }),
});
const rescheduleBody = z
  .strictObject({ delayMs: whole(0, limits.maxDelayMs).optional(), deliverAt: askedInstant.optional() })
  .meta({ id: "Reschedule", description: "Exactly one of both; a delay counts from now." });
const moved = z.object({ id: z.string(), partition: z.int(), scheduledFor: instant }).meta({ id: "Moved" });
const { offset: _, ...delayedFields } = messageFields;
const delayed = z.object({ ...delayedFields, scheduledFor: instant }).meta({ id: "DelayedMessage" });

/** The routes of delayed messages. */
export function delayRoutes({ base, tag, params, findTopic }: TopicPlace): readonly Route[] {
  const one = params.extend({ id: messageId }) as unknown as ZodType<PathParams & { id: string }>;
  const found = (broker: Broker, path: PathParams) => async () => {
    const topic = await findTopic(broker, path);
    return topic.ok ? ok({ topic: topic.value }) : topic;
  };
  return [
    route({
      ...{ method: "get", path: `${base}/scheduled`, tag, access: ["consume", "manage"] },
      summary: "List the delayed messages of a partition",
      description: "Those due first come first. What is due has an offset and is in the log instead.",
      params,
      query: z.strictObject({
        partition: partition.default(0),
        after: afterPlace.optional(),
        limit: queryNumber(1, limits.pageItems).default(limits.pageItems),
      }),
      answers: { 200: { description: "A page of delayed messages.", schema: listOf("messages", delayed) } },
      handle: async ({ broker, params: path, query }) => {
        const { after = null, limit, ...at } = query;
        const page = await withFresh(broker, found(broker, path), async ({ topic }) => {
          const exists = checkPartition(at.partition, topic.partitions);
          return exists.ok ? topicAt(broker, topic, at.partition).delayed({ after, limit }) : exists;
        });
        return page.ok ? reply(200, showPage(page.value, at.partition)) : page;
      },
    }),
    route({
      ...{ method: "delete", path: `${base}/messages/{id}`, tag, access: ["publish", "manage"] },
      summary: "Cancel a delayed message",
      description: "Until it is due. Cancelling it again answers the same.",
      params: one,
      query: where,
      answers: { 204: { description: "It will not be delivered." } },
      handle: async ({ broker, params: { id, ...path }, query }) => {
        const cancelled = await withFresh(broker, found(broker, path), ({ topic }) =>
          whereItIs(broker, topic, id, query.partition, (at) => at.cancel({ id })),
        );
        return cancelled.ok ? reply(204, undefined) : cancelled;
      },
    }),
    route({
      ...{ method: "patch", path: `${base}/messages/{id}`, tag, access: ["publish", "manage"] },
      summary: "Move a delayed message",
      description: "Until it is due. Its time to live, if it has one, moves with it.",
      params: one,
      query: where,
      body: rescheduleBody,
      answers: { 200: { description: "When it is due now.", schema: moved } },
      handle: async ({ broker, params: { id, ...path }, query, body }) => {
        const deliverAt = newInstant(body, broker.runtime.now());
        if (!deliverAt.ok) return deliverAt;
        const call = { id, deliverAt: deliverAt.value };
        const answer = await withFresh(broker, found(broker, path), ({ topic }) =>
          whereItIs(broker, topic, id, query.partition, (at) => at.reschedule(call)),
        );
        if (!answer.ok) return answer;
        return reply(200, { id, partition: answer.value.partition, ...answer.value.value });
      },
    }),
  ];
}

function newInstant(
  asked: Readonly<{ delayMs?: number | undefined; deliverAt?: number | string | undefined }>,
  now: number,
): Result<number> {
  const timing = readTiming(
    { delayMs: asked.delayMs, deliverAt: asked.deliverAt, ttlMs: undefined },
    "",
    now,
  );
  if (!timing.ok) return timing;
  if (timing.value && asksForDelay(timing.value)) return ok(dueAt(timing.value, now));
  return refuse("invalid-request", "delayMs or deliverAt is needed.", { field: "deliverAt" });
}

type Placed<T> = Readonly<{ partition: number; value: T }>;

/**
 * Asks the partition that is named, or the one that the id's own hash names and then, because an ordering key or a
 * broker's choice may have sent the message elsewhere, all others.
 */
async function whereItIs<T>(
  broker: Broker,
  topic: TopicEntry,
  id: string,
  named: number | undefined,
  ask: (at: TopicCalls) => Promise<Result<T>>,
): Promise<Result<Placed<T>>> {
  const home = named ?? partitionOf(id, layoutOf(topic).each);
  const exists = checkPartition(home, topic.partitions);
  if (!exists.ok) return exists;
  const asked = async (partition: number): Promise<Result<Placed<T>>> => {
    const answer = await ask(topicAt(broker, topic, partition));
    return answer.ok ? ok({ partition, value: answer.value }) : answer;
  };
  const first = await asked(home);
  if (named !== undefined || !isUnknown(first)) return first;
  const others = await everyPartition(topic.partitions, async (partition) =>
    ok(partition === home ? first : await asked(partition)),
  );
  if (!others.ok) return others;
  const known = others.value.filter((answer) => !isUnknown(answer));
  return known.find((answer) => answer.ok) ?? known[0] ?? first;
}

function isUnknown(answer: Result<unknown>): boolean {
  return !answer.ok && answer.error.code === "message-not-found";
}

function showPage({ messages: page, more }: DelayedPage, partition: number) {
  const messages = page.flatMap(({ record, deliverAt }) =>
    unpackRecords(record).map((message) => ({
      ...messageJson(message),
      partition,
      scheduledFor: deliverAt,
    })),
  );
  const last = more ? page.at(-1) : undefined;
  return { messages, next: last ? `${last.deliverAt}.${last.number}` : null };
}
