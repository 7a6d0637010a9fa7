// Dead letters: list, inspect, redrive, purge. The same below a subscription and a queue.

import { type ZodType, z } from "zod";
import { ok, type Result, refuse } from "../errors";
import { limits } from "../limits";
import { messageJson } from "../message-json";
import { unpackRecords } from "../record-batch";
import type { DeadLetter, DeadLetterSelection, SubscriptionCalls } from "../subscription-calls";
import type { Broker } from "./broker";
import { everyPartition, nextOf, placeAfter, subscriptionAt, walk } from "./partition-routes";
import { type Found, type PathParams, type SubscriptionPlace, withFresh } from "./place-routes";
import { type Route, reply, route } from "./route";
import {
  instant,
  listOf,
  messageFields,
  type Place,
  page,
  place,
  placeText,
  type Selection,
  selection,
} from "./schemas";

const deadLetter = z
  .object({
    id: z.string().meta({ description: "`{partition}.{offset}`" }),
    partition: z.int(),
    offset: z.int(),
    diedAt: instant,
    reason: z.enum(["attempts-spent", "rejected", "expired", "undeliverable"]),
    detail: z.string().optional(),
    attempts: z.int(),
    history: z.array(
      z.object({
        at: instant,
        status: z.int().optional(),
        error: z.string().optional(),
        latencyMs: z.number().optional(),
      }),
    ),
    message: z
      .object(messageFields)
      .omit({ partition: true, offset: true })
      .optional()
      .meta({ description: "Absent only when retention removed it." }),
  })
  .meta({ id: "DeadLetter" });

const counted = (verb: string) => ({
  200: {
    description: `How many were ${verb}; one that is not there any more is not counted.`,
    schema: z.object({
      [verb]: z.int(),
      more: z.boolean().meta({ description: "Some are left: ask again." }),
    }),
  },
});

/** The routes of dead letters. */
export function deadLetterRoutes({ base, tag, params, find }: SubscriptionPlace): readonly Route[] {
  const path = `${base}/dead-letters`;
  const one = params.extend({ id: place }) as unknown as ZodType<PathParams & { id: Place }>;
  return [
    route({
      ...{ method: "get", path, tag, access: ["consume", "manage"] },
      summary: "List dead letters",
      params,
      query: page,
      answers: { 200: { description: "A page of dead letters.", schema: listOf("deadLetters", deadLetter) } },
      handle: async ({ broker, params: names, query }) => {
        const begin = placeAfter(query.after);
        if (!begin.ok) return begin;
        const walked = await withFresh(
          broker,
          () => find(broker, names),
          ({ topic, subscription }) =>
            walk<DeadLetter>({
              partitions: topic.partitions,
              after: begin.value,
              limit: query.limit,
              maxBytes: limits.readBytes,
              bytesOf: ({ record }) => record?.byteLength ?? 0,
              offsetOf: ({ offset }) => offset,
              ask: (partition, after, limit) =>
                subscriptionAt(broker, subscription, partition).deadLetters({ after, limit }),
            }),
        );
        if (!walked.ok) return walked;
        const deadLetters = walked.value.items.map(({ partition, item }) => show(partition, item));
        return reply(200, { deadLetters, next: nextOf(walked.value.next) });
      },
    }),
    route({
      ...{ method: "get", path: `${path}/{id}`, tag, access: ["consume", "manage"] },
      summary: "Show a dead letter",
      params: one,
      answers: { 200: { description: "The dead letter.", schema: deadLetter } },
      handle: async ({ broker, params: { id, ...names } }) => {
        const { partition, offset } = id;
        const found = await withFresh(
          broker,
          () => find(broker, names),
          async ({ topic, subscription }) =>
            partition < topic.partitions
              ? subscriptionAt(broker, subscription, partition).deadLetters({ after: offset - 1, limit: 1 })
              : ok([]),
        );
        if (!found.ok) return found;
        const letter = found.value.find((each) => each.offset === offset);
        if (letter) return reply(200, show(partition, letter));
        return refuse("dead-letter-not-found", `There is no dead letter ${placeText(id)}.`);
      },
    }),
    route({
      ...{ method: "post", path: `${path}/redrive`, tag, access: ["manage"] },
      summary: "Send dead letters round again",
      params,
      body: selection,
      answers: counted("redriven"),
      handle: async ({ broker, params: names, body }) => {
        const done = await withFresh(
          broker,
          () => find(broker, names),
          (found) =>
            selectAll(broker, found, body, async (partition, chosen) => {
              const answer = await partition.redrive(chosen);
              return answer.ok ? ok(answer.value.redriven) : answer;
            }),
        );
        return done.ok ? reply(200, { redriven: done.value.count, more: done.value.more }) : done;
      },
    }),
    route({
      ...{ method: "delete", path, tag, access: ["manage"] },
      summary: "Purge dead letters",
      params,
      body: selection,
      answers: counted("purged"),
      handle: async ({ broker, params: names, body }) => {
        const done = await withFresh(
          broker,
          () => find(broker, names),
          (found) =>
            selectAll(broker, found, body, async (partition, chosen) => {
              const answer = await partition.purge(chosen);
              return answer.ok ? ok(answer.value.purged) : answer;
            }),
        );
        return done.ok ? reply(200, { purged: done.value.count, more: done.value.more }) : done;
      },
    }),
  ];
}

type Count = Readonly<{ count: number; more: boolean }>;
type Apply = (partition: SubscriptionCalls, chosen: DeadLetterSelection) => Promise<Result<number>>;

/** Applies a redrive or purge to each partition that the selection touches. */
async function selectAll(
  broker: Broker,
  { topic, subscription }: Found,
  chosen: Selection,
  apply: Apply,
): Promise<Result<Count>> {
  const ids = "ids" in chosen ? Map.groupBy(chosen.ids, ({ partition }) => partition) : undefined;
  const counts = await everyPartition(topic.partitions, async (partition): Promise<Result<Count>> => {
    const at = subscriptionAt(broker, subscription, partition);
    if (!ids) return applyToAll(at, apply);
    const offsets = [...new Set(ids.get(partition)?.map(({ offset }) => offset))];
    if (offsets.length === 0) return ok({ count: 0, more: false });
    const count = await apply(at, { offsets });
    return count.ok ? ok({ count: count.value, more: false }) : count;
  });
  if (!counts.ok) return counts;
  const count = counts.value.reduce((sum, each) => sum + each.count, 0);
  return ok({ count, more: counts.value.some(({ more }) => more) });
}

/** A bounded number of calls: a redriven delivery may die again while the rest is being redriven. */
async function applyToAll(at: SubscriptionCalls, apply: Apply): Promise<Result<Count>> {
  let count = 0;
  for (let calls = 0; calls < limits.selectionCalls; calls++) {
    const done = await apply(at, { all: true, limit: limits.deadLettersPerCall });
    if (!done.ok) return done;
    count += done.value;
    if (done.value < limits.deadLettersPerCall) return ok({ count, more: false });
  }
  return ok({ count, more: true });
}

function show(partition: number, { record, ...letter }: DeadLetter) {
  const [message] = record ? unpackRecords(record) : [];
  const id = placeText({ partition, offset: letter.offset });
  return { id, partition, ...letter, ...(message && { message: messageJson(message) }) };
}
