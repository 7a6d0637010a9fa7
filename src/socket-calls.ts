// What a consumer and a subscription say to each other over a WebSocket, frame by frame, as JSON.
//
//   consumer ──▶  {"type":"credit","messages":n}                        lease me up to n more
//                 {"type":"ack"|"nack"|"extend","ackIds":[…],"ref"?, …}   as the routes of the same names
//   broker  ──▶   {"type":"open","partition","credit","until"}
//                 {"type":"messages","messages":[…]}                    as a pull answers; each takes one credit
//                 {"type":"results","ref"?,"results":[{"ackId","status"}]}
//                 {"type":"error","ref"?,"code","detail","field"?}
//
// `ping` is answered `pong` without waking anybody.

import { type AckId, parseAckId } from "./ack-id";
import type { Admission } from "./admission-calls";
import { ok, type Refused, type Result, refuse } from "./errors";
import { limits } from "./limits";

/** How a socket is asked for; the query of the request to the subscription's object. */
export type SocketAsk = Readonly<{ credit: number; ackDeadlineMs?: number; admission?: Admission }>;

/** The query of a socket that is asked for. */
export function writeSocketAsk({ admission, ...ask }: SocketAsk): URLSearchParams {
  const fields = { ...ask, ...(admission && { admission: JSON.stringify(admission) }) };
  return new URLSearchParams(Object.entries(fields).map(([name, value]) => [name, String(value)]));
}

/** How a socket is asked for by this query, which the broker made. */
export function readSocketAsk(query: URLSearchParams): SocketAsk {
  const [ackDeadlineMs, admission] = [query.get("ackDeadlineMs"), query.get("admission")];
  return {
    credit: Number(query.get("credit")),
    ...(ackDeadlineMs !== null && { ackDeadlineMs: Number(ackDeadlineMs) }),
    ...(admission !== null && { admission: JSON.parse(admission) as Admission }),
  };
}

export type Frame = Readonly<
  { ref?: string } & (
    | { type: "credit"; messages: number }
    | { type: "ack"; ackIds: readonly AckId[] }
    | { type: "nack"; ackIds: readonly AckId[]; delayMs?: number; deadLetter?: boolean; reason?: string }
    | { type: "extend"; ackIds: readonly AckId[]; ackDeadlineMs: number }
  )
>;

/** Codes with which the broker closes a socket (4000 to 4999 are an application's own). */
export const closings = {
  /** Its time is over: open another. */
  reopen: 4000,
  notText: 1003,
  tooLarge: 1009,
  /** Who opened it would not be let in any more: its token was taken away, exchanged, or has expired. */
  unauthenticated: 4401,
  gone: 4410,
  notPull: 4409,
} as const;

type Fields = Readonly<Record<string, unknown>>;

const FIELDS: Readonly<Record<Frame["type"], readonly string[]>> = {
  credit: ["messages"],
  ack: ["ackIds"],
  nack: ["ackIds", "delayMs", "deadLetter", "reason"],
  extend: ["ackIds", "ackDeadlineMs"],
};
const REF_LENGTH = 64;

/** Reads what a consumer said. The refusal names the field. */
export function readFrame(text: string): Result<Frame> {
  const fields = parseObject(text);
  if (fields === undefined) return refuse("malformed-body", "A frame is a JSON object.");
  const { type, ref } = fields;
  if (typeof type !== "string" || !Object.hasOwn(FIELDS, type)) {
    return wrong("type", `one of ${Object.keys(FIELDS).join(", ")}`);
  }
  if (ref !== undefined && (typeof ref !== "string" || ref.length > REF_LENGTH)) {
    return wrong("ref", `a string of at most ${REF_LENGTH} characters`);
  }
  const known = new Set(["type", "ref", ...FIELDS[type as Frame["type"]]]);
  const unknown = Object.keys(fields).find((name) => !known.has(name));
  if (unknown !== undefined)
    return wrong(unknown.slice(0, REF_LENGTH).toWellFormed(), "left out: there is no such field");
  const read = readFields(type as Frame["type"], fields);
  return read.ok && ref !== undefined ? ok({ ...read.value, ref: ref as string }) : read;
}

function readFields(type: Frame["type"], fields: Fields): Result<Frame> {
  if (type === "credit") {
    const { messages } = fields;
    if (!isWhole(messages, 1, limits.socketCredit)) return wrong("messages", `1 to ${limits.socketCredit}`);
    return ok({ type, messages });
  }
  const ackIds = readAckIds(fields.ackIds);
  if (!ackIds.ok) return ackIds;
  if (type === "ack") return ok({ type, ackIds: ackIds.value });
  if (type === "nack") return readNack(fields, ackIds.value);
  const { ackDeadlineMs } = fields;
  if (!isWhole(ackDeadlineMs, limits.minAckDeadlineMs, limits.maxAckDeadlineMs)) {
    return wrong("ackDeadlineMs", `${limits.minAckDeadlineMs} to ${limits.maxAckDeadlineMs}`);
  }
  return ok({ type, ackIds: ackIds.value, ackDeadlineMs });
}

function readNack({ delayMs, deadLetter, reason }: Fields, ackIds: readonly AckId[]): Result<Frame> {
  if (delayMs !== undefined && !isWhole(delayMs, 0, limits.maxNackDelayMs)) {
    return wrong("delayMs", `0 to ${limits.maxNackDelayMs}`);
  }
  if (deadLetter !== undefined && typeof deadLetter !== "boolean")
    return wrong("deadLetter", "true or false");
  const isReason = typeof reason === "string" && reason !== "" && reason.isWellFormed();
  if (reason !== undefined && !(isReason && reason.length <= limits.reasonLength)) {
    return wrong("reason", `a string of 1 to ${limits.reasonLength} characters`);
  }
  return ok({
    type: "nack",
    ackIds,
    ...(delayMs !== undefined && { delayMs }),
    ...(deadLetter !== undefined && { deadLetter }),
    ...(isReason && { reason }),
  });
}

function readAckIds(value: unknown): Result<readonly AckId[]> {
  const texts: readonly unknown[] = Array.isArray(value) ? value : [];
  if (texts.length < 1 || texts.length > limits.settleIds)
    return wrong("ackIds", `1 to ${limits.settleIds} ack ids`);
  const ids = texts.map((text) => (typeof text === "string" ? parseAckId(text) : undefined));
  const bad = ids.indexOf(undefined);
  return bad === -1 ? ok(ids as readonly AckId[]) : wrong(`ackIds[${bad}]`, "an ack id");
}

function parseObject(text: string): Fields | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? (value as Fields)
      : undefined;
  } catch {
    return undefined;
  }
}

function isWhole(value: unknown, min: number, max: number): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= min && value <= max;
}

function wrong(field: string, what: string): Refused {
  return refuse("invalid-request", `${field} must be ${what}.`, { field });
}
