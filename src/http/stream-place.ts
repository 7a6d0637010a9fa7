// Where a reader of a topic's log has come to: the next offset of every partition. It travels as the id of an event
// (`Last-Event-ID`), so a reader that comes back goes on exactly there.
//
//   1.{end of the topic's generation}.{next offset of partition 0, in base 36}-{of partition 1}-…

import { ok, type Result, refuse } from "../errors";
import { limits } from "../limits";

const PLACE = /^1\.([0-9a-z]{1,12})\.([0-9a-z]{1,11}(?:-[0-9a-z]{1,11})*)$/;
const GENERATION_LENGTH = 12;
const RADIX = 36;

export function streamPlaceText(generation: string, next: readonly number[]): string {
  return `1.${tagOf(generation)}.${next.map((offset) => offset.toString(RADIX)).join("-")}`;
}

/**
 * The next offsets that a place tells. A partition that a raise has made since begins at its first message. The
 * place of another life of the topic is refused as `gone`.
 */
export function readStreamPlace(
  text: string,
  { generation, partitions }: Readonly<{ generation: string; partitions: number }>,
): Result<readonly number[]> {
  const [, tag, list = ""] = PLACE.exec(text) ?? [];
  const offsets = list.split("-").map((offset) => Number.parseInt(offset, RADIX));
  const isWhole = offsets.every(Number.isSafeInteger) && offsets.length <= limits.partitions;
  if (tag === undefined || !isWhole) {
    return refuse("invalid-request", "This is no place that a stream gave.", { field: "Last-Event-ID" });
  }
  if (tag !== tagOf(generation)) {
    return refuse("gone", "The topic of this place was deleted.", { field: "Last-Event-ID" });
  }
  return ok(Array.from({ length: partitions }, (_, partition) => offsets[partition] ?? 0));
}

function tagOf(generation: string): string {
  return generation.replace(/[^0-9a-z]/g, "").slice(-GENERATION_LENGTH);
}
