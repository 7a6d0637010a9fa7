// The answer to a publish: 201 when all of it is stored, 202 when some of it is only accepted, and what became of each message.

import type { TopicEntry } from "../catalog/catalog-entry";
import { present } from "./json";
import { problemResponse } from "./problem";
import { itemResults, type Outcomes, refusalOf, statusOf } from "./publish";
import type { Publish } from "./publish-store";
import { timelinePath } from "./timeline-routes";

export type Answering = Readonly<{
  kind: "single" | "batch";
  /** The preferences that were heeded. */
  applied: readonly string[];
  matched: ReadonlyMap<number, number> | undefined;
}>;

/** A single message that was refused is a problem, and so are many of which none was taken. */
export function publishAnswer(
  topic: TopicEntry,
  { items, atomic }: Publish,
  outcomes: Outcomes,
  { kind, applied, matched }: Answering,
): Response {
  const [first] = outcomes.values();
  if (kind === "single" && first?.status === "refused") return problemResponse(first.error);
  const results = itemResults(items, outcomes, (at) => timelinePath(topic, at));
  const status = statusOf(outcomes);
  if (status === "refused") return problemResponse(refusalOf(outcomes, atomic), { messages: results });
  const messages = matched
    ? results.map((result, index) => ({ ...result, ...present({ matched: matched.get(index) }) }))
    : results;
  const headers = applied.length > 0 ? { "preference-applied": applied.join(", ") } : {};
  return Response.json({ status, messages }, { status: status === "stored" ? 201 : 202, headers });
}
