// Dead letters: list, inspect, redrive, purge. The same below a subscription and a queue.

import { type ZodType, z } from "zod";
import { ok, type Result, refuse } from "../errors";
import { limits } from "../limits";
import { messageJson } from "../message-json";
import { unpackRecords } from "../record-batch";
import type { DeadLetter, DeadLetterSelection, SubscriptionCalls } from "../subscription-calls";
import type { Broker } from "./broker";
import { everyPartition, parseAfter, subscriptionAt, walkBy } from "./partition-routes";
import { type Found, type PathParams, type SubscriptionPlace, withFresh } from "./place-routes";
import { type Route, reply, route } from "./route";
import {
  instant,
  type LetterPlace,
  letterPlace,
  letterText,
  listOf,
  messageFields,
  page,
  type Selection,
  selection,
} from "./schemas";

const deadLetter = z
  .object({
    id: z.string().meta({ description: "`{partition}.{epoch}.{offset}`" }),
    partition: z.int(),
    epoch: z
      .int()
      .meta({ description: "Dead letters of an earlier epoch than the stats show are of before a seek." }),
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

const counted = (verb: string, others: Readonly<Record<string, ZodType>> = {}) => ({
  200: {
    description: `How many were ${verb}; one that is not there any more is not counted.`,
    schema: z.object({
      [verb]: z.int(),
      ...others,
      more: z.boolean().meta({ description: "Some are left: ask again." }),
    }),
  },
});

/** The routes of dead letters. */
export function deadLetterRoutes({ base, tag, params, find }: SubscriptionPlace): readonly Route[] {
  const path = `${base}/dead-letters`;
  const one = params.extend({ id: letterPlace }) as unknown as ZodType<PathParams & { id: LetterPlace }>;
  return [
    route({
      ...{ method: "get", path, tag, access: ["consume", "manage"] },
      summary: "List dead letters",
      params,
      query: page,
      answers: { 200: { description: "A page of dead letters.", schema: listOf("deadLetters", deadLetter) } },
      handle: async ({ broker, params: names, query }) => {
        const begin = parseAfter<LetterPlace>(letterPlace, query.after);
        if (!begin.ok) return begin;
        const walked = await withFresh(
          broker,
          () => find(broker, names),
          ({ topic, subscription }) =>
            walkBy<DeadLetter, LetterRef>({
              partitions: topic.partitions,
              after: begin.value,
              limit: query.limit,
              maxBytes: limits.readBytes,
              bytesOf: ({ record }) => record?.byteLength ?? 0,
              begin: { epoch: 0, offset: -1 },
              placeOf: ({ epoch, offset }) => ({ epoch, offset }),
              ask: (partition, { epoch, offset: after }, limit) =>
                subscriptionAt(broker, subscription, partition).deadLetters({ epoch, after, limit }),
            }),
        );
        if (!walked.ok) return walked;
        const deadLetters = walked.value.items.map(({ partition, item }) => show(partition, item));
        const { next } = walked.value;
        return reply(200, { deadLetters, next: next && letterText(next) });
      },
    }),
    route({
      ...{ method: "get", path: `${path}/{id}`, tag, access: ["consume", "manage"] },
      summary: "Show a dead letter",
      params: one,
      answers: { 200: { description: "The dead letter.", schema: deadLetter } },
      handle: async ({ broker, params: { id, ...names } }) => {
        const { partition, epoch, offset } = id;
        const found = await withFresh(
          broker,
          () => find(broker, names),
          async ({ topic, subscription }) =>
            partition < topic.partitions
              ? subscriptionAt(broker, subscription, partition).deadLetters({
                  ...{ epoch, after: offset - 1, limit: 1 },
                })
              : ok([]),
        );
        if (!found.ok) return found;
        const letter = found.value.find((each) => each.epoch === epoch && each.offset === offset);
        if (letter) return reply(200, show(partition, letter));
        return refuse("dead-letter-not-found", `There is no dead letter ${letterText(id)}.`);
      },
    }),
    route({
      ...{ method: "post", path: `${path}/redrive`, tag, access: ["manage"] },
      summary: "Send dead letters round again",
      params,
      body: selection,
      description:
        "What died in an earlier epoch goes round outside its lane, unless this epoch delivers it anyway: then it is `superseded`.",
      answers: counted("redriven", {
        superseded: z
          .int()
          .meta({ description: "Of before a seek, delivered by the present epoch anyway, and taken out." }),
      }),
      handle: async ({ broker, params: names, body }) => {
        const done = await withFresh(
          broker,
          () => find(broker, names),
          (found) =>
            selectAll(broker, found, body, async (partition, chosen) => {
              const answer = await partition.redrive(chosen);
              if (!answer.ok) return answer;
              const { redriven, superseded } = answer.value;
              return ok({ taken: redriven + superseded, superseded });
            }),
        );
        if (!done.ok) return done;
        const { taken, superseded, more } = done.value;
        return reply(200, { redriven: taken - superseded, superseded, more });
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
              return answer.ok ? ok({ taken: answer.value.purged, superseded: 0 }) : answer;
            }),
        );
        return done.ok ? reply(200, { purged: done.value.taken, more: done.value.more }) : done;
      },
    }),
  ];
}

type LetterRef = Readonly<{ epoch: number; offset: number }>;
/** Letters that left, and those of them that nobody will be handed. */
type Taken = Readonly<{ taken: number; superseded: number }>;
type Count = Taken & Readonly<{ more: boolean }>;
type Apply = (partition: SubscriptionCalls, chosen: DeadLetterSelection) => Promise<Result<Taken>>;

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
    return ids ? applyToSome(at, ids.get(partition) ?? [], apply) : applyToAll(at, apply);
  });
  if (!counts.ok) return counts;
  return ok({ ...sumOf(counts.value), more: counts.value.some(({ more }) => more) });
}

/** One call for each epoch, which is one for all but subscriptions that were moved. */
async function applyToSome(
  at: SubscriptionCalls,
  ids: readonly LetterRef[],
  apply: Apply,
): Promise<Result<Count>> {
  const done: Taken[] = [];
  for (const [epoch, letters] of Map.groupBy(ids, ({ epoch }) => epoch)) {
    const offsets = [...new Set(letters.map(({ offset }) => offset))];
    const taken = await apply(at, { epoch, offsets });
    if (!taken.ok) return taken;
    done.push(taken.value);
  }
  return ok({ ...sumOf(done), more: false });
}

function sumOf(counts: readonly Taken[]): Taken {
  const of = (term: keyof Taken) => counts.reduce((sum, each) => sum + each[term], 0);
  return { taken: of("taken"), superseded: of("superseded") };
}

/** A bounded number of calls: a redriven delivery may die again while the rest is being redriven. */
async function applyToAll(at: SubscriptionCalls, apply: Apply): Promise<Result<Count>> {
  const done: Taken[] = [];
  for (let calls = 0; calls < limits.selectionCalls; calls++) {
    const taken = await apply(at, { all: true, limit: limits.deadLettersPerCall });
    if (!taken.ok) return taken;
    done.push(taken.value);
    if (taken.value.taken < limits.deadLettersPerCall) return ok({ ...sumOf(done), more: false });
  }
  return ok({ ...sumOf(done), more: true });
}

function show(partition: number, { record, ...letter }: DeadLetter) {
  const [message] = record ? unpackRecords(record) : [];
  const id = letterText({ partition, ...letter });
  return { id, partition, ...letter, ...(message && { message: messageJson(message) }) };
}
