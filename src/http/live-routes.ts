// Reading live: the tail of a topic as server-sent events, a pull subscription over a WebSocket, and tickets for
// browsers, which can send neither of them a header.

import { z } from "zod";
import { ok, type Refused, type Result, refuse } from "../errors";
import { limits } from "../limits";
import { objectName } from "../object-name";
import { type SocketAsk, writeSocketAsk } from "../socket-calls";
import type { TopicCalls } from "../topic-calls";
import { ticketPath } from "./auth";
import type { Broker } from "./broker";
import { checkPartition, everyPartition, topicAt } from "./partition-routes";
import {
  type Found,
  type PathParams,
  type SubscriptionPlace,
  type TopicPlace,
  withFresh,
} from "./place-routes";
import { type Route, reply, route } from "./route";
import { instant, queryNumber, whole } from "./schemas";
import { retryAfter, serverSent } from "./server-sent";
import { readStreamPlace } from "./stream-place";
import { streamBody, TailStore } from "./tail-store";
import { ticketText } from "./ticket";

const ticketQuery = {
  ticket: z.string().optional().meta({ description: "In place of a token: for browsers." }),
};
const streamQuery = z.strictObject({
  ...ticketQuery,
  from: z.enum(["latest", "earliest"]).default("latest"),
  lastEventId: z
    .string()
    .max(1_024)
    .optional()
    .meta({ description: "In place of the header Last-Event-ID." }),
});
const socketQuery = z.strictObject({
  ...ticketQuery,
  partition: queryNumber(0, limits.partitions - 1)
    .optional()
    .meta({
      description: "Which partition; may be left out when there is one.",
    }),
  credit: queryNumber(0, limits.socketCredit).default(0),
  ackDeadlineMs: queryNumber(limits.minAckDeadlineMs, limits.maxAckDeadlineMs).optional(),
});
const ticketBody = z.strictObject({
  ttlMs: whole(1_000, limits.maxTicketMs).default(limits.defaultTicketMs),
});
const ticketShown = z.object({ ticket: z.string(), expiresAt: instant }).meta({ id: "Ticket" });

/** How soon a reader comes back when its connection ends, in milliseconds. */
const COME_BACK_MS = 1_000;

/** The tail of a topic. */
export function streamRoutes({ base, tag, params, findTopic }: TopicPlace): readonly Route[] {
  return [
    route({
      ...{ method: "get", path: `${base}/stream`, tag, access: ["consume"], takesTicket: true },
      summary: "Follow the log as server-sent events",
      description:
        "Nothing is acked and nobody is remembered: an event's id is the place behind it, and `Last-Event-ID` goes on there.",
      params,
      query: streamQuery,
      headers: z.object({ "Last-Event-ID": z.string().optional() }),
      answers: {
        200: {
          description: "Events until the connection ends.",
          schema: z.string(),
          contentType: EVENT_STREAM,
        },
      },
      handle: async ({ broker, params: path, query, request }) => {
        const place = request.headers.get("last-event-id") ?? query.lastEventId;
        const tail = await withFresh(
          broker,
          () => findBare(broker, path, findTopic),
          (found) => openTail(broker, found, place ? { place } : { at: query.from }),
        );
        return tail.ok ? streamResponse(tail.value) : tail;
      },
    }),
  ];
}

/** A subscription over a WebSocket. */
export function socketRoutes({ base, tag, params, find }: SubscriptionPlace): readonly Route[] {
  return [
    route({
      ...{ method: "get", path: `${base}/socket`, tag, access: ["consume"], takesTicket: true },
      summary: "Consume over a WebSocket",
      description: "One partition a socket. What is said on it is in docs/live.md.",
      params,
      query: socketQuery,
      answers: { 101: { description: "The socket." } },
      handle: async ({ broker, principal: { admission }, params: path, query, request }) => {
        if (request.headers.get("upgrade")?.toLowerCase() !== "websocket") {
          return refuse("invalid-request", "Ask for a WebSocket: `Upgrade: websocket`.", {
            field: "Upgrade",
          });
        }
        const { partition, credit, ackDeadlineMs } = query;
        const ask: SocketAsk = {
          ...{ credit, ...(ackDeadlineMs !== undefined && { ackDeadlineMs }) },
          ...(admission && { admission }),
        };
        const opened = await withFresh(
          broker,
          () => find(broker, path),
          (found) => openSocket(broker, found, partition, ask),
        );
        return opened.ok ? opened.value : opened;
      },
    }),
  ];
}

/** Tickets for what lies below a place. */
export function ticketRoutes({
  base,
  tag,
  params,
}: Pick<TopicPlace, "base" | "tag" | "params">): readonly Route[] {
  return [
    route({
      ...{ method: "post", path: `${base}/ticket`, tag, access: ["consume"] },
      summary: "Make a ticket for a browser to listen with",
      description:
        "It stands in the URL (`?ticket=`) of `stream` or `socket` below this path, and ends soon.",
      params,
      body: ticketBody,
      answers: { 201: { description: "The ticket.", schema: ticketShown } },
      handle: async ({ broker, principal, body, request }) => {
        // It ends with its token at the latest.
        const { until = Number.POSITIVE_INFINITY } = principal.admission ?? {};
        const expiresAt = Math.min(broker.runtime.now() + body.ttlMs, until);
        const path = ticketPath(request);
        const ticket = await ticketText({ principal: principal.id, path, expiresAt }, broker.rootToken);
        return reply(201, { ticket, expiresAt });
      },
    }),
  ];
}

// ── the tail ─────────────────────────────────────────────────────────────────────────────────────────

const EVENT_STREAM = "text/event-stream";

type FollowCall = Parameters<TopicCalls["follow"]>[0];
type Topic = Pick<Found, "topic">;
type Beginning = Readonly<{ place: string } | { at: "earliest" | "latest" }>;

async function findBare(
  broker: Broker,
  path: PathParams,
  findTopic: TopicPlace["findTopic"],
): Promise<Result<Topic>> {
  const topic = await findTopic(broker, path);
  return topic.ok ? ok({ topic: topic.value }) : topic;
}

async function openTail(broker: Broker, { topic }: Topic, begin: Beginning): Promise<Result<TailStore>> {
  const from =
    "place" in begin ? readStreamPlace(begin.place, topic) : await placesAt(broker, { topic }, begin.at);
  if (!from.ok) return from;
  const { generation, partitions } = topic;
  const tail = {
    ...{ generation, partitions, now: () => broker.runtime.now() },
    follow: (partition: number, call: FollowCall) => topicAt(broker, topic, partition).follow(call),
  };
  return ok(new TailStore(tail, from.value));
}

async function placesAt(
  broker: Broker,
  { topic }: Topic,
  at: "earliest" | "latest",
): Promise<Result<readonly number[]>> {
  const places = await everyPartition(topic.partitions, (partition) =>
    topicAt(broker, topic, partition).locate({}),
  );
  if (!places.ok) return places;
  return ok(places.value.map(({ earliest, head }) => (at === "earliest" ? earliest : head)));
}

/** The first event tells the place where it begins: a connection that breaks before any message loses none. */
function streamResponse(tail: TailStore): Response {
  const begin = retryAfter(COME_BACK_MS) + serverSent({ event: "open", id: tail.place, data: {} });
  const timer = {
    after: (ms: number, act: () => void) => {
      const id = setTimeout(act, ms);
      return () => clearTimeout(id);
    },
  };
  return new Response(streamBody(begin, tail, timer), {
    headers: { "content-type": EVENT_STREAM, "cache-control": "no-store", "x-accel-buffering": "no" },
  });
}

// ── the socket ───────────────────────────────────────────────────────────────────────────────────────

async function openSocket(
  { env }: Broker,
  { topic, subscription }: Found,
  partition: number | undefined,
  ask: SocketAsk,
): Promise<Result<Response>> {
  if (partition === undefined && topic.partitions > 1) {
    const detail = `One socket is for one partition: name one of the ${topic.partitions} of this topic.`;
    return refuse("invalid-request", detail, { field: "partition", limit: topic.partitions - 1 });
  }
  const chosen = checkPartition(partition ?? 0, topic.partitions);
  if (!chosen.ok) return chosen;
  // Not one of the calls: only a response to a request can carry a socket.
  const object = env.SUBSCRIPTION.getByName(
    objectName(subscription.generation, partition ?? 0),
  ) as unknown as Pick<Fetcher, "fetch">;
  const answer = await object.fetch(
    new Request(`https://subscription/?${writeSocketAsk(ask)}`, { headers: { upgrade: "websocket" } }),
  );
  return answer.webSocket ? ok(answer) : ((await answer.json()) as Refused);
}
