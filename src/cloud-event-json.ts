// A message as the JSON of a CloudEvent (the specification's JSON format 1.0). JSON data stands in it byte for byte, so
// that no number of it is ever rounded.

import { type CloudEvent, eventOf, SPECVERSION, usualForm } from "./cloud-event";
import type { DataForm, Message } from "./message";
import { toBase64 } from "./message-json";

// A byte order mark is part of the bytes: dropping it would change the message.
const utf8Strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The JSON text of the message as an event. */
export function eventJson(message: Message, topic: string): string {
  const event = eventOf(message, topic);
  const context = JSON.stringify(contextOf(event, message.eventShape?.bare ?? []));
  const data = dataMember(message);
  return data === "" ? context : `${context.slice(0, -1)},${data}}`;
}

/** The JSON text of several messages, as a batch of events. */
export function eventBatchJson(messages: readonly Message[], topic: string): string {
  return `[${messages.map((message) => eventJson(message, topic)).join(",")}]`;
}

function contextOf({ extensions, ...core }: CloudEvent, bare: readonly string[]): Record<string, unknown> {
  const values = extensions.map(
    ([name, value]) => [name, bare.includes(name) ? bareValue(value) : value] as const,
  );
  return { specversion: SPECVERSION, ...core, ...Object.fromEntries(values) };
}

function bareValue(text: string): number | boolean {
  return text === "true" || text === "false" ? text === "true" : Number(text);
}

/** Without data there is no member. What its form cannot hold stands as base64, which holds everything. */
function dataMember({ body, contentType, eventShape }: Message): string {
  const form = eventShape?.data ?? usualForm(contentType);
  if (body.byteLength === 0 && eventShape?.data === undefined) return "";
  const text = form === "base64" ? undefined : textOf(body, form);
  return text === undefined ? `"data_base64":"${toBase64(body)}"` : `"data":${text}`;
}

function textOf(body: Uint8Array, form: DataForm): string | undefined {
  try {
    const text = utf8Strict.decode(body);
    if (form === "text") return JSON.stringify(text);
    JSON.parse(text);
    return text;
  } catch {
    return undefined;
  }
}
