// Publishing: one message as the raw body, or many as JSON or NDJSON. What promises no order and fits goes through
// the Cloudflare Queue and is answered 202; everything else is stored in its topic first and answered 201.

import { z } from "zod";
import type { TopicEntry } from "../catalog/catalog-entry";
import { EVENT_BATCH_JSON } from "../cloud-event";
import { ok, type Result } from "../errors";
import { limits } from "../limits";
import type { ProducerMark } from "../record-batch";
import { authenticateInbound } from "./auth";
import type { Broker } from "./broker";
import { type EventMode, eventMode, readOne } from "./event-items";
import { takeInAll, takeInOne } from "./intake";
import { matchedOf } from "./matched-store";
import type { Metering } from "./metering-store";
import type { PathParams, TopicPlace } from "./place-routes";
import { producerOf, undelayed } from "./producer-headers";
import type { Outcomes } from "./publish";
import { publishAnswer } from "./publish-answer";
import { readItems } from "./publish-body";
import { type Draft, prefersMatched, prefersWait, type Stamp, traceOf } from "./publish-items";
import { batchBody, batchHeaders, eventContent, published, publishHeaders } from "./publish-schemas";
import { countTaken, countToStore, knowingPriorities, type Publish, publishItems } from "./publish-store";
import { readBody } from "./request-routes";
import { type Call, type Route, route } from "./route";
import type { Principal } from "./scope";

/** What is known of a publish from its beginning: to whom, by whom, since when. */
type Asked = Readonly<{
  broker: Broker;
  principal: Principal;
  topic: TopicEntry;
  request: Request;
  metering: Metering;
  since: number;
}>;

/** The publishing routes below a topic or a queue. */
export function publishRoutes(place: TopicPlace): readonly Route[] {
  const { base, tag, params, findTopic } = place;
  const asked = async (call: Call<PathParams, unknown, unknown>): Promise<Result<Asked>> => {
    const { broker, principal, request, metering } = call;
    const since = broker.runtime.now();
    const topic = await findTopic(broker, call.params);
    return topic.ok ? ok({ broker, principal, request, metering, since, topic: topic.value }) : topic;
  };
  return [
    route({
      ...{ method: "post", path: `${base}/messages`, tag, access: ["publish"] },
      summary: "Publish one message",
      description:
        "The body is the message, byte for byte, of any content type; headers carry the rest. " +
        "A CloudEvent is read as such: with its attributes in ce-* headers, or as application/cloudevents+json; " +
        "application/cloudevents-batch+json is answered as a batch.",
      params,
      headers: publishHeaders,
      rawBody: { description: "The message.", content: { ...eventContent, "*/*": z.any() } },
      answers: published,
      handle: async (call) => {
        const publish = await asked(call);
        return publish.ok ? publishRaw(publish.value) : publish;
      },
    }),
    route({
      ...{ method: "post", path: `${base}/messages/batch`, tag, access: ["publish"] },
      summary: "Publish many messages",
      description:
        "JSON, or NDJSON (`application/x-ndjson`) with one message a line and `?atomic=true` in the URL. " +
        "Every message gets its own result: one bad message refuses itself, not its neighbours.",
      params,
      headers: batchHeaders,
      rawBody: {
        description: "The messages.",
        content: {
          "application/json": batchBody,
          "application/x-ndjson": z.string(),
          [EVENT_BATCH_JSON]: eventContent[EVENT_BATCH_JSON],
        },
      },
      answers: published,
      handle: async (call) => {
        const publish = await asked(call);
        return publish.ok ? publishBatch(publish.value) : publish;
      },
    }),
  ];
}

/** For senders that cannot add a header: the token is in the URL, and may do nothing but publish to one topic. */
export const inboundRoute: Route = route({
  ...{ method: "post", path: "/v1/in/{token}", tag: "Publish", access: "public" },
  summary: "Publish one message with the token in the URL",
  description: "The token has one scope: to publish to exactly one topic. The raw body is the message.",
  params: z.object({ token: z.string() }),
  headers: publishHeaders,
  rawBody: { description: "The message.", content: { "*/*": z.any() } },
  answers: published,
  handle: async ({ broker, params, request, metering }) => {
    const since = broker.runtime.now();
    const inbound = await authenticateInbound(broker, params.token);
    if (!inbound.ok) return inbound;
    const { principal } = inbound.value;
    const taken = await metering.takeRequest(principal);
    if (!taken.ok) return taken;
    const topic = await broker.catalog.store.topic(inbound.value.topic);
    if (!topic.ok) return topic;
    return publishRaw({ broker, principal, request, metering, since, topic: topic.value });
  },
});

// ── reading ──────────────────────────────────────────────────────────────────────────────────────────

async function publishRaw(asked: Asked): Promise<Result<never> | Response> {
  const { request } = asked;
  const mode = eventMode(request.headers);
  if (!mode.ok) return mode;
  if (mode.value === "batched") return publishBatch(asked);
  const single = await readSingle(asked, mode.value);
  if (!single.ok) return single;
  const { topic, draft } = single.value;
  const producer = producerOf(request.headers, 1);
  if (!producer.ok) return producer;
  const publish = publishOf([ok(draft)], { atomic: false, producer: producer.value }, request);
  return publishMetered({ ...asked, topic }, publish, "single");
}

/** `topic` as it is known once the message was read: a priority that it names may have been added since. */
type Single = Readonly<{ topic: TopicEntry; draft: Draft }>;

/** The one message of a request: its raw body, or an event. */
export async function readSingle(
  { broker, topic: known, request, since }: Omit<Asked, "principal" | "metering">,
  mode: Exclude<EventMode, "batched"> | undefined,
): Promise<Result<Single>> {
  const body = await readBody(request, mode === "structured" ? limits.eventBytes : limits.messageBytes);
  if (!body.ok) return body;
  const read = readOne(mode, request.headers, body.value, known.settings, stampOf(broker, request, since));
  if (!read.ok) return read;
  const topic = await knowingPriorities(broker, known, [read]);
  const draft = takeInOne(read.value, topic, request.headers);
  return draft.ok ? ok({ topic, draft: draft.value }) : draft;
}

async function publishBatch(asked: Asked): Promise<Result<never> | Response> {
  const { broker, request } = asked;
  const body = await readBody(request, limits.publishRequestBytes);
  if (!body.ok) return body;
  const read = readItems(request, body.value, stampOf(broker, request, asked.since));
  if (!read.ok) return read;
  const { atomic, list } = read.value;
  const topic = await knowingPriorities(broker, asked.topic, read.value.items);
  const items = takeInAll(read.value.items, topic, list);
  const producer = producerOf(request.headers, items.length);
  if (!producer.ok) return producer;
  const publish = publishOf(items, { atomic, producer: producer.value }, request);
  return publishMetered({ ...asked, topic }, publish, "batch");
}

/** Publishes what the limits of the token and the topic allow, all of it or nothing. Of what is refused nothing counts. */
async function publishMetered(
  asked: Asked,
  publish: Publish,
  kind: "single" | "batch",
): Promise<Result<never> | Response> {
  const { broker, principal, topic, metering } = asked;
  const outcomes = await metering.forMessages(
    { principal, topic, count: countToStore(publish) },
    () => publishItems(broker, topic, publish),
    countTaken,
  );
  return outcomes.ok ? answer(asked, publish, outcomes.value, kind) : outcomes;
}

/** What a producer numbers is taken whole or not at all, and takes its offset at once. */
function publishOf(
  items: readonly Result<Draft>[],
  { atomic, producer }: Readonly<{ atomic: boolean; producer: ProducerMark | undefined }>,
  { headers }: Request,
): Publish {
  // What a message matched is told once it is stored.
  const wait = prefersWait(headers) || prefersMatched(headers);
  if (producer === undefined) return { items, atomic, wait };
  return { items: items.map(undelayed), atomic: true, wait, producer };
}

function stampOf({ runtime }: Broker, { headers }: Request, publishedAt: number): Stamp {
  return { publishedAt, ...traceOf(headers), newId: () => runtime.newId() };
}

// ── answering ────────────────────────────────────────────────────────────────────────────────────────

async function answer(
  asked: Asked,
  publish: Publish,
  outcomes: Outcomes,
  kind: "single" | "batch",
): Promise<Response> {
  const { broker, topic, request } = asked;
  const isAsked = prefersMatched(request.headers);
  const matched = isAsked ? await matchedOf(broker, topic, publish.items, outcomes) : undefined;
  const applied = [
    ...(prefersWait(request.headers) ? ["wait"] : []),
    ...(matched === undefined ? [] : ["matched"]),
  ];
  const response = publishAnswer(topic, publish, outcomes, { kind, applied, matched });
  logPublish(asked, publish.items, response.status);
  return response;
}

/** One wide line for each publish: never a body, an id or a token. */
function logPublish(
  { broker, principal, topic, since }: Asked,
  items: readonly Result<Draft>[],
  status: number,
): void {
  if (!broker.log) return;
  const bodies = items.map((item) => (item.ok ? item.value.message.body.byteLength : 0));
  const bytes = bodies.reduce((sum, length) => sum + length, 0);
  const ms = broker.runtime.now() - since;
  console.log(
    JSON.stringify({
      ...{ event: "publish", topic: topic.name, count: items.length, bytes, status, ms },
      principal: principal.id,
    }),
  );
}
