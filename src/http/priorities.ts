// What a publisher says of a message's priority, and whether the topic uses it. Read by hand: it is the hot path.

import { ok, type Refused, type Result, refuse } from "../errors";
import { limits } from "../limits";
import { DEFAULT_PRIORITY, type Laid, layoutOf } from "../priority";

const DIGIT = /^\d$/;

/** The priority in the header `Pennypost-Priority`; undefined when there is none. */
export function headerPriority(text: string | null): Result<number | undefined> {
  if (text === null) return ok(undefined);
  return readPriority(DIGIT.test(text) ? Number(text) : text, "priority");
}

/** The priority that an item names; undefined when it names none. */
export function readPriority(value: unknown, field: string): Result<number | undefined> {
  if (value === undefined) return ok(undefined);
  const isWhole = typeof value === "number" && Number.isInteger(value);
  if (isWhole && value >= 0 && value <= limits.maxPriority) return ok(value);
  const limit = isWhole && value < 0 ? 0 : limits.maxPriority;
  return refuse("invalid-request", `${field} is a whole number, 0 to ${limits.maxPriority}.`, {
    field,
    limit,
  });
}

/** Whether the topic uses the priority that a message names; one that names none has the default, which is always used. */
export function usesPriority(topic: Laid, priority: number | undefined): boolean {
  return priority === undefined || layoutOf(topic).priorities.includes(priority);
}

/** The refusal of a priority that the topic does not use: it names those that it does. */
export function notListed(topic: Laid, priority: number, at: string): Refused {
  const used = layoutOf(topic)
    .priorities.toSorted((a, b) => a - b)
    .join(", ");
  const detail =
    used === String(DEFAULT_PRIORITY)
      ? `This topic has no priorities, so ${priority} is none of them.`
      : `This topic has the priorities ${used}, and not ${priority}.`;
  return refuse("priority-not-listed", detail, { field: `${at}priority`, limit: used });
}
