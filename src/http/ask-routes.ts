// Request and reply, the asker's side: one message that is answered, and what was replied to it. The same below a topic
// and a queue.

import { type ZodType, z } from "zod";
import type { TopicEntry } from "../catalog/catalog-entry";
import { ok, type Result, refuse } from "../errors";
import { limits } from "../limits";
import { bodyJson } from "../message-json";
import type { Reply, RequestView } from "../reply-calls";
import { askTopic, type Heard, repliesAt } from "./ask-store";
import { eventMode } from "./event-items";
import type { PathParams, TopicPlace } from "./place-routes";
import { problemResponse } from "./problem";
import { type Draft, prefersWait } from "./publish-items";
import { readSingle } from "./publish-routes";
import { eventContent, publishHeaders } from "./publish-schemas";
import { replyWaitMs } from "./reply-wait";
import { type Call, type Route, reply, route } from "./route";
import { instant, messageId } from "./schemas";
import { asksForDelay } from "./timing";

const askHeaders = publishHeaders
  .omit({
    "Pennypost-Delay-Ms": true,
    "Pennypost-Deliver-At": true,
    "Pennypost-Producer": true,
    "Pennypost-Sequence": true,
  })
  .extend({
    Prefer: z
      .string()
      .optional()
      .meta({
        description: `\`wait=\` and how many seconds to wait, 0 to ${limits.maxReplyWaitMs / 1000}.`,
        example: "wait=10",
      }),
  });

const replies = z.array(
  z.object({
    standing: z.enum(["first", "late", "second"]).meta({
      description: "`first` and `late` are what the asker gets; `late` came after the wait.",
    }),
    at: instant,
    subscription: z.string(),
    partition: z.int().optional(),
    offset: z.int().optional(),
    attempt: z.int().optional(),
    status: z.int().optional().meta({ description: "With which status the endpoint replied." }),
    contentType: z.string(),
    data: z.string().optional(),
    dataBase64: z.string().optional(),
    tooLarge: z.literal(true).optional().meta({ description: "It was larger than is kept: it is empty." }),
  }),
);
const shown = z
  .object({
    id: z.string(),
    state: z.enum(["open", "answered"]),
    openedAt: instant,
    askedUntil: instant.meta({ description: "Until when its asker waits: epoch milliseconds." }),
    keptUntil: instant.meta({ description: "Until when it is kept: epoch milliseconds." }),
    replies,
  })
  .meta({ id: "Request" });

/** The routes of an asker. */
export function askRoutes({ base, tag, params, findTopic }: TopicPlace): readonly Route[] {
  const one = params.extend({ id: messageId }) as unknown as ZodType<PathParams & { id: string }>;
  return [
    route({
      ...{ method: "post", path: `${base}/request`, tag, access: ["publish"] },
      summary: "Publish one message and wait for a reply to it",
      description:
        "The body is the message, as when it is published. The answer is the first reply, byte for byte. " +
        "When none comes in time the problem `reply-timeout` says where a late one is kept; to repeat the request " +
        "with the same id joins it, and publishes nothing.",
      params,
      headers: askHeaders,
      rawBody: {
        description: "The message.",
        content: {
          "application/cloudevents+json": eventContent["application/cloudevents+json"],
          "*/*": z.any(),
        },
      },
      answers: {
        200: { description: "The reply, with its content type.", schema: z.any(), contentType: "*/*" },
      },
      handle: async (call) => {
        const since = call.broker.runtime.now();
        const topic = await findTopic(call.broker, call.params);
        return topic.ok ? ask(call, topic.value, since) : topic;
      },
    }),
    route({
      ...{ method: "get", path: `${base}/requests/{id}`, tag, access: ["publish", "consume", "manage"] },
      summary: "Show what was replied to a request",
      description: "The first reply, and those that came late or second.",
      params: one,
      answers: { 200: { description: "The request and its replies, in their order.", schema: shown } },
      handle: async ({ broker, params: { id, ...path } }) => {
        const topic = await findTopic(broker, path);
        if (!topic.ok) return topic;
        const view = await repliesAt(broker, topic.value, id).show();
        return view.ok ? reply(200, showRequest(view.value)) : view;
      },
    }),
  ];
}

async function ask(
  {
    broker,
    principal,
    metering,
    request,
  }: Omit<Call<unknown, unknown, unknown>, "params" | "query" | "body">,
  known: TopicEntry,
  since: number,
): Promise<Result<never> | Response> {
  const { headers } = request;
  const waitMs = replyWaitMs(headers.get("prefer"));
  if (!waitMs.ok) return waitMs;
  const mode = eventMode(headers);
  if (!mode.ok) return mode;
  if (mode.value === "batched") {
    return refuse("unsupported-content-type", "A request is one message.", { field: "Content-Type" });
  }
  const single = await readSingle({ broker, topic: known, request, since }, mode.value);
  if (!single.ok) return single;
  const { topic } = single.value;
  const draft = checkRequest(single.value.draft, headers);
  if (!draft.ok) return draft;
  const until = since + waitMs.value;
  const heard = await askTopic({ broker, principal, metering, topic, draft: draft.value, until });
  if (!heard.ok) return heard;
  const applied = prefersWait(headers) ? { "preference-applied": `wait=${waitMs.value / 1000}` } : {};
  return respond(topic, heard.value, applied);
}

/** A request goes out at once, and its message is numbered by nobody. */
function checkRequest(draft: Draft, headers: Headers): Result<Draft> {
  const numbered = ["Pennypost-Producer", "Pennypost-Sequence"].find((name) => headers.has(name));
  if (numbered) return refuse("invalid-request", "A request has no producer.", { field: numbered });
  if (!asksForDelay(draft.timing)) return ok(draft);
  return refuse("invalid-request", "A request cannot be delayed.", { field: "deliverAt" });
}

function respond(
  topic: TopicEntry,
  { id, reply }: Heard,
  applied: Readonly<Record<string, string>>,
): Response {
  const where = { id, request: requestPath(topic, id) };
  if (reply === undefined) {
    const { error } = refuse("reply-timeout", `Nobody has replied to "${id}" yet.`);
    return problemResponse(error, where, applied);
  }
  if (!reply.tooLarge)
    return new Response(reply.body, { headers: { ...replyHeaders(id, reply), ...applied } });
  const detail = `What "${reply.subscription}" replied is larger than ${limits.replyBytes} bytes.`;
  const { error } = refuse("payload-too-large", detail, { field: "reply", limit: limits.replyBytes });
  return problemResponse(error, where, applied);
}

/** The bytes are somebody else's: no browser is to take them for a page of the broker's. */
function replyHeaders(id: string, { contentType, subscription, standing, status }: Reply) {
  return {
    "content-type": contentType,
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; sandbox",
    "pennypost-message-id": id,
    "pennypost-reply": standing,
    "pennypost-reply-subscription": subscription,
    ...(status !== undefined && { "pennypost-reply-status": String(status) }),
  };
}

/** The path under which the replies to a request are kept. */
function requestPath({ kind, name }: TopicEntry, id: string): string {
  return `/v1/${kind === "queue" ? "queues" : "topics"}/${name}/requests/${encodeURIComponent(id)}`;
}

function showRequest({ replies, ...request }: RequestView) {
  return {
    ...request,
    state: replies.length > 0 ? "answered" : "open",
    replies: replies.map(({ delivery, body, ...said }) => ({
      ...said,
      ...(delivery && { partition: delivery.partition, offset: delivery.offset }),
      ...bodyJson(body),
    })),
  };
}
