// What a publisher says of itself as a producer: its name, and the number that it gave the first message.

import { ok, type Result, refuse } from "../errors";
import { limits } from "../limits";
import type { ProducerMark } from "../record-batch";
import { parse } from "./parse";
import type { Draft, HeaderReader } from "./publish-items";
import { producerHeaders } from "./publish-schemas";
import { asksForDelay } from "./timing";

const NAME = "Pennypost-Producer";
const SEQUENCE = "Pennypost-Sequence";

/** The producer of a publish of `count` messages; undefined when it names none. Both headers are needed, or neither. */
export function producerOf(headers: HeaderReader, count: number): Result<ProducerMark | undefined> {
  const name = headers.get(NAME);
  const sequence = headers.get(SEQUENCE);
  if (name === null && sequence === null) return ok(undefined);
  const read = parse(producerHeaders, { [NAME]: name ?? undefined, [SEQUENCE]: sequence ?? undefined });
  if (!read.ok) return read;
  const mark = { name: read.value[NAME], sequence: read.value[SEQUENCE] };
  if (mark.sequence + count - 1 <= limits.maxSequence) return ok(mark);
  const detail = `The last message would have a sequence above ${limits.maxSequence}.`;
  return refuse("invalid-request", detail, { field: SEQUENCE, limit: limits.maxSequence });
}

/** Refuses a message that is to wait: it would take its offset, and its place behind its producer's others, only later. */
export function undelayed(item: Result<Draft>): Result<Draft> {
  if (!item.ok || !asksForDelay(item.value.timing)) return item;
  return refuse("invalid-request", "What a producer numbers cannot be delayed.", { field: "deliverAt" });
}
