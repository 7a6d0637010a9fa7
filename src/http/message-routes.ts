// Looking at a topic's log: its messages by partition and offset, and what it refused after a 202.

import { z } from "zod";
import { limits } from "../limits";
import { messageJson } from "../message-json";
import { recordSpans, unpackRecord } from "../record-batch";
import type { ReadAnswer, Rejection } from "../topic-calls";
import { checkPartition, nextOf, placeAfter, topicAt, walk } from "./partition-routes";
import type { TopicPlace } from "./place-routes";
import { problemOf } from "./problem";
import { type Route, reply, route } from "./route";
import { instant, listOf, messageFields, page, placeText, problem, queryNumber } from "./schemas";

const storedMessage = z.object({ ...messageFields, storedAt: instant }).meta({ id: "StoredMessage" });
const browsed = z
  .object({
    messages: z.array(storedMessage),
    nextOffset: z.int().meta({ description: "Where the next page begins." }),
    earliest: z.int().meta({ description: "The oldest offset still retained." }),
    head: z.int().meta({ description: "The offset that the next message will take." }),
  })
  .meta({ id: "Messages" });
const rejection = z
  .object({ id: z.string(), messageId: z.string(), partition: z.int(), rejectedAt: instant, error: problem })
  .meta({ id: "Rejection" });

/** A record is nowhere near as large as what surrounds it in a page: a page is read in one call. */
const BROWSE_BYTES = 1_048_576;

export function messageRoutes({ base, tag, params, findTopic }: TopicPlace): readonly Route[] {
  return [
    route({
      ...{ method: "get", path: `${base}/messages`, tag, access: ["consume", "manage"] },
      summary: "Browse the log of a partition",
      params,
      query: z.strictObject({
        partition: queryNumber(0, limits.partitions - 1).default(0),
        offset: queryNumber(0, Number.MAX_SAFE_INTEGER).default(0),
        limit: queryNumber(1, limits.pullMessages).default(limits.pageItems),
      }),
      answers: { 200: { description: "Messages from the offset on.", schema: browsed } },
      handle: async ({ broker, params: path, query: { partition, offset, limit } }) => {
        const topic = await findTopic(broker, path);
        if (!topic.ok) return topic;
        const exists = checkPartition(partition, topic.value.partitions);
        if (!exists.ok) return exists;
        const read = await topicAt(broker, topic.value, partition).read({
          from: offset,
          maxBytes: BROWSE_BYTES,
        });
        return read.ok ? reply(200, showPage(read.value, partition, offset, limit)) : read;
      },
    }),
    route({
      ...{ method: "get", path: `${base}/rejections`, tag, access: ["consume", "manage", "publish"] },
      summary: "List messages that were accepted, and refused by their topic",
      description:
        "Their publisher was answered 202 before the topic saw that the id was used for other content.",
      params,
      query: page,
      answers: { 200: { description: "A page of rejections.", schema: listOf("rejections", rejection) } },
      handle: async ({ broker, params: path, query: { after, limit } }) => {
        const topic = await findTopic(broker, path);
        if (!topic.ok) return topic;
        const begin = placeAfter(after);
        if (!begin.ok) return begin;
        const walked = await walk<Rejection>({
          partitions: topic.value.partitions,
          after: begin.value,
          limit,
          maxBytes: BROWSE_BYTES,
          bytesOf: () => 0,
          offsetOf: ({ id }) => Number(id),
          ask: (partition, offset, rest) =>
            topicAt(broker, topic.value, partition).rejections({
              after: offset < 0 ? null : String(offset),
              limit: rest,
            }),
        });
        if (!walked.ok) return walked;
        const rejections = walked.value.items.map(({ partition, offset, item }) => ({
          ...{ id: placeText({ partition, offset }), messageId: item.messageId, partition },
          ...{ rejectedAt: item.rejectedAt, error: problemOf(item.error) },
        }));
        return reply(200, { rejections, next: nextOf(walked.value.next) });
      },
    }),
  ];
}

function showPage({ runs, earliest, head }: ReadAnswer, partition: number, from: number, limit: number) {
  const messages: unknown[] = [];
  let nextOffset = Math.max(from, earliest);
  for (const { firstOffset, storedAt, records } of runs) {
    for (const [place, span] of recordSpans(records).entries()) {
      if (messages.length === limit) break;
      const offset = firstOffset + place;
      messages.push({ ...messageJson(unpackRecord(records, span)), partition, offset, storedAt });
      nextOffset = offset + 1;
    }
  }
  return { messages, nextOffset, earliest, head };
}
