// Messages from published CloudEvents, and which requests are such. Timing, priority, ordering key and further attributes of one
// event come in the headers that any message has.

import { EVENT_BATCH_JSON, EVENT_JSON, EVENT_PREFIX } from "../cloud-event";
import { ok, type Result, refuse } from "../errors";
import { limits } from "../limits";
import { checkMessage, type Message } from "../message";
import type { TopicSettings } from "../settings";
import { readTrace } from "../trace-context";
import { type EventParts, readBinaryEvent, readJsonEvent } from "./event-parts";
import { decodeJson, parseJson, present } from "./json";
import { elementSources } from "./json-source";
import { headerPriority } from "./priorities";
import {
  attributesOf,
  type Draft,
  type HeaderReader,
  keptHeaders,
  readId,
  readRaw,
  type Stamp,
} from "./publish-items";
import { headerTiming, timedFields } from "./timing";

export type EventMode = "binary" | "structured" | "batched";

const CLOUD_EVENTS = /^application\/cloudevents(?:-batch)?(?:\+|\s*(?:;|$))/i;

/** How the request carries CloudEvents; undefined when it carries none. A format that is not JSON is refused. */
export function eventMode(headers: HeaderReader): Result<EventMode | undefined> {
  const contentType = headers.get("content-type") ?? "";
  if (CLOUD_EVENTS.test(contentType)) {
    const [mediaType = ""] = contentType.toLowerCase().split(";");
    if (mediaType.trim() === EVENT_JSON) return ok("structured");
    if (mediaType.trim() === EVENT_BATCH_JSON) return ok("batched");
    const detail = `CloudEvents are taken as ${EVENT_JSON}, as ${EVENT_BATCH_JSON}, or with ce-* headers.`;
    return refuse("unsupported-content-type", detail, { field: "Content-Type" });
  }
  for (const [name] of headers.entries()) if (name.startsWith(EVENT_PREFIX)) return ok("binary");
  return ok(undefined);
}

/** Reads one message from headers and a body, which may be an event. */
export function readOne(
  mode: Exclude<EventMode, "batched"> | undefined,
  headers: HeaderReader,
  body: Uint8Array,
  settings: TopicSettings,
  stamp: Stamp,
): Result<Draft> {
  if (mode === undefined) return readRaw(headers, body, settings, stamp);
  const event = mode === "binary" ? readBinaryEvent(headers.entries(), body) : readStructured(body);
  return event.ok ? draftOf(headers, event.value, settings, stamp) : event;
}

/** Reads a batch of events, each by itself. */
export function readEventBatch(body: Uint8Array, stamp: Stamp): Result<readonly Result<Draft>[]> {
  const text = decodeJson(body);
  if (!text.ok) return text;
  const values = parseJson(body);
  if (!values.ok) return values;
  const { length = 0 } = Array.isArray(values.value) ? values.value : [];
  if (length < 1 || length > limits.publishMessages) {
    const detail = `A batch is an array of 1 to ${limits.publishMessages} events.`;
    return refuse("invalid-request", detail, { field: "body", limit: limits.publishMessages });
  }
  const sources = elementSources(text.value);
  const items = (values.value as unknown[]).map((value, index) => {
    const at = `[${index}].`;
    const event = readJsonEvent(value, sources[index] ?? "", at);
    return event.ok ? checked(messageOf(event.value, stamp), at) : event;
  });
  return ok(items);
}

function readStructured(body: Uint8Array): Result<EventParts> {
  const text = decodeJson(body);
  if (!text.ok) return text;
  const value = parseJson(body);
  return value.ok ? readJsonEvent(value.value, text.value) : value;
}

/** `Idempotency-Key` takes the place of the event's id: the event keeps its own, and goes out with it. */
function draftOf(
  headers: HeaderReader,
  event: EventParts,
  { keepHeaders }: TopicSettings,
  stamp: Stamp,
): Result<Draft> {
  const timing = headerTiming((name) => headers.get(name), stamp.publishedAt);
  if (!timing.ok) return timing;
  const priority = headerPriority(headers.get("pennypost-priority"));
  if (!priority.ok) return priority;
  const id = readId(headers, undefined);
  if (!id.ok) return id;
  if (headers.get("pennypost-subject") !== null) {
    return refuse("invalid-request", "An event's subject is its own attribute.", {
      field: "Pennypost-Subject",
    });
  }
  const orderingKey = headers.get("pennypost-ordering-key");
  const named = id.value !== undefined && id.value !== event.messageId;
  const message = messageOf(event, stamp);
  const own = named && message.attributes?.["ce-id"] === undefined ? { "ce-id": event.messageId } : {};
  const full: Message = {
    ...message,
    ...(id.value !== undefined && { id: id.value }),
    ...(orderingKey !== null && { orderingKey }),
    attributes: { ...attributesOf(headers).attributes, ...message.attributes, ...own },
    ...keptHeaders(headers, keepHeaders),
    ...timedFields(timing.value, stamp.publishedAt),
  };
  const draft = checked(full, "");
  const asked = present({ timing: timing.value, priority: priority.value });
  return draft.ok ? ok({ ...draft.value, ...asked }) : draft;
}

/** The request's trace, else the one that the event brings along. */
function messageOf(event: EventParts, { publishedAt, traceparent, tracestate }: Stamp): Message {
  const { messageId, contentType, body, subject, attributes, partitionKey, shape } = event;
  const trace = readTrace(traceparent, tracestate);
  return {
    ...{ id: messageId, publishedAt, contentType, body, attributes },
    ...(subject !== undefined && { subject }),
    ...(partitionKey !== undefined && { orderingKey: partitionKey }),
    ...(trace.traceparent === undefined ? readTrace(event.traceparent, event.tracestate) : trace),
    ...(shape && { eventShape: shape }),
  };
}

function checked(message: Message, at: string): Result<Draft> {
  const result = checkMessage(message, at);
  return result.ok ? ok({ message, isClientId: true }) : result;
}
