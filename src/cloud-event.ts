// What of a message is a CloudEvent (version 1.0). Its context attributes are attributes of the message under their
// HTTP names (`ce-source`, `ce-type`, …), but for those that a message has a place for: subject, content type and id.
// So whoever filters, pulls or browses sees them, and a fingerprint covers them, in whatever mode they came.
//
//   a message that has ce-specversion 1.0, ce-source and ce-type is an event; any other can be shown as one
//
// What else is needed to send the event out exactly as it came is its shape, which is no content: the same event in
// another mode is the same message.

import type { DataForm, Message } from "./message";

/** An event as it is sent out. The data is the message's body. */
export type CloudEvent = Readonly<{
  id: string;
  source: string;
  type: string;
  subject?: string;
  time?: string;
  dataschema?: string;
  datacontenttype?: string;
  /** By name, in the order of their names. */
  extensions: readonly (readonly [name: string, value: string])[];
}>;

export const SPECVERSION = "1.0";
/** The type of a message that was not published as an event. */
export const PLAIN_TYPE = "pennypost.message";
export const EVENT_JSON = "application/cloudevents+json";
export const EVENT_BATCH_JSON = "application/cloudevents-batch+json";
export const EVENT_PREFIX = "ce-";

/** Attributes of the specification that are no extensions. */
export const CORE_NAMES: ReadonlySet<string> = new Set([
  ...["specversion", "id", "source", "type", "subject", "time", "dataschema", "datacontenttype"],
  ...["data", "data_base64"],
]);

const NAME = /^[a-z0-9]{1,61}$/;
const JSON_TYPE = /^[^;]*[/+]json\s*(?:;|$)/i;
const TEXT_TYPE =
  /^\s*(?:text\/|application\/(?:xml|javascript|graphql|x-www-form-urlencoded)\s*(?:;|$)|[^;]*\+xml\s*(?:;|$))/i;
const URI_REFERENCE = /^(?:[A-Za-z0-9\-._~:/?#[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})+$/;
const SCHEME = /^[A-Za-z][A-Za-z0-9+.-]*:/;
const RFC_3339 =
  /^\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])[Tt](?:[01]\d|2[0-3]):[0-5]\d:(?:[0-5]\d|60)(?:\.\d+)?(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/;
const utf8 = new TextEncoder();

/** The message id of an event: its own id, with what a message id cannot hold percent-encoded, and `%` itself. */
export function messageIdOf(eventId: string): string {
  return eventId.replace(/[^\x21-\x24\x26-\x2d\x2f-\x7e]+/g, (odd) =>
    [...utf8.encode(odd)].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`).join(""),
  );
}

/** Whether a name may be an extension's. */
export function isExtensionName(name: string): boolean {
  return NAME.test(name) && !CORE_NAMES.has(name);
}

export function isUriReference(text: string): boolean {
  return URI_REFERENCE.test(text);
}

export function isUri(text: string): boolean {
  return SCHEME.test(text) && URI_REFERENCE.test(text);
}

export function isTimestamp(text: string): boolean {
  return RFC_3339.test(text);
}

export function isJsonType(contentType: string): boolean {
  return JSON_TYPE.test(contentType);
}

/** How data of this content type stands in JSON unless its event says otherwise. */
export function usualForm(contentType: string): DataForm {
  if (isJsonType(contentType)) return "json";
  return TEXT_TYPE.test(contentType) ? "text" : "base64";
}

/** The message as an event: the one that it was published as, or one made of what it has. */
export function eventOf(message: Message, topic: string): CloudEvent {
  return publishedEvent(message) ?? plainEvent(message, topic);
}

function publishedEvent({
  id,
  subject,
  contentType,
  attributes = {},
  eventShape,
}: Message): CloudEvent | undefined {
  const at = (name: string) => attributes[`${EVENT_PREFIX}${name}`];
  const [source, type, time, dataschema] = [at("source"), at("type"), at("time"), at("dataschema")];
  if (at("specversion") !== SPECVERSION || !source || !type || !isUriReference(source)) return undefined;
  const names = Object.keys(attributes).flatMap((name) =>
    name.startsWith(EVENT_PREFIX) ? [name.slice(EVENT_PREFIX.length)] : [],
  );
  return {
    ...{ id: at("id") || id, source, type },
    ...(subject !== undefined && { subject }),
    ...(time !== undefined && isTimestamp(time) && { time }),
    ...(dataschema !== undefined && isUri(dataschema) && { dataschema }),
    ...(!eventShape?.untyped && { datacontenttype: contentType }),
    extensions: names
      .filter(isExtensionName)
      .sort()
      .map((name) => [name, at(name) ?? ""] as const),
  };
}

/** Its attributes are extensions where their names can be, and so are its ordering key and its trace. */
function plainEvent(message: Message, topic: string): CloudEvent {
  const { id, subject, contentType, attributes = {}, orderingKey, traceparent, publishedAt } = message;
  const extensions = {
    ...Object.fromEntries(Object.entries(attributes).filter(([name]) => isExtensionName(name))),
    ...(orderingKey !== undefined && { partitionkey: orderingKey }),
    ...(traceparent !== undefined && { traceparent }),
  };
  return {
    id,
    source: `/v1/topics/${encodeURIComponent(topic)}`,
    type: PLAIN_TYPE,
    ...(subject !== undefined && { subject }),
    time: new Date(publishedAt).toISOString(),
    datacontenttype: contentType,
    extensions: Object.entries(extensions).sort(([a], [b]) => (a < b ? -1 : 1)),
  };
}
