// A webhook request that carries CloudEvents (HTTP protocol binding 1.0): one in binary mode, one in structured mode, or
// a batch. What was not published as an event is shown as one (cloud-event.ts).

import {
  type CloudEvent,
  EVENT_BATCH_JSON,
  EVENT_JSON,
  EVENT_PREFIX,
  eventOf,
  SPECVERSION,
} from "../cloud-event";
import { eventBatchJson, eventJson } from "../cloud-event-json";
import type { Message } from "../message";
import type { PushFormat } from "../settings";
import type { Item } from "./dispatch-plan";
import { batchHeaders, type HeaderList, messageHeaders, type Origin } from "./webhook-headers";

type EventContent = Readonly<{ headers: HeaderList; fixed?: HeaderList; body: Uint8Array }>;

const UTF_8 = "; charset=utf-8";
/** All but printable ASCII, and of that the space, the quote and the percent sign: so the binding says. */
const UNSAFE = /[^\x21\x23\x24\x26-\x7e]+/g;
const utf8 = new TextEncoder();

/** The headers and body of a request with one event. */
export function eventContent(origin: Origin, item: Item, format: Exclude<PushFormat, "raw">): EventContent {
  const { message } = item;
  const { "content-type": _type, ...headers } = messageHeaders(origin, { ...item, message: bare(message) });
  if (format === "cloudevents-structured") {
    const fixed = { "content-type": `${EVENT_JSON}${UTF_8}` };
    return { headers, fixed, body: utf8.encode(eventJson(message, origin.topic)) };
  }
  return { headers, fixed: eventHeaders(eventOf(message, origin.topic)), body: message.body };
}

/** The headers and body of a request with several events. */
export function eventBatchContent(origin: Origin, parcel: readonly Item[]): EventContent {
  const messages = parcel.map(({ message }) => message);
  return {
    headers: batchHeaders(origin, `${EVENT_BATCH_JSON}${UTF_8}`),
    body: utf8.encode(eventBatchJson(messages, origin.topic)),
  };
}

/** By what an endpoint knows a message of its batch: an event by its own id. */
export function nameInBatch({ topic }: Origin, format: PushFormat = "raw"): (item: Item) => string {
  if (format === "raw") return ({ message }) => message.id;
  return ({ message }) => eventOf(message, topic).id;
}

/** An event's context as headers. Its content type is the request's, and stands as it came. */
function eventHeaders({ datacontenttype, extensions, ...core }: CloudEvent): HeaderList {
  const values = [["specversion", SPECVERSION], ...Object.entries(core), ...extensions];
  const list = values.map(([name, value]) => [`${EVENT_PREFIX}${name}`, eventSafe(value ?? "")] as const);
  return {
    ...Object.fromEntries(list),
    ...(datacontenttype !== undefined && { "content-type": eventSafe(datacontenttype, /[^\x20-\x7e]+/g) }),
  };
}

function eventSafe(value: string, unsafe = UNSAFE): string {
  return value.replace(unsafe, (part) =>
    [...utf8.encode(part)].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`).join(""),
  );
}

/** The message without the attributes that its event has headers of their own for. */
function bare({ attributes = {}, ...message }: Message): Message {
  const others = Object.entries(attributes).filter(([name]) => !name.startsWith(EVENT_PREFIX));
  return { ...message, attributes: Object.fromEntries(others) };
}
