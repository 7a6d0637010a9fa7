// Dead letters: list, inspect, redrive, purge. The same below a subscription and a queue.

import type { ZodType } from "zod";
import { shownFields } from "../catalog/audit-details";
import { type BrokerError, ok, type Result, refuse } from "../errors";
import { recorded, resourceAt } from "./audit-log-routes";
import type { Broker } from "./broker";
import {
  checkRedrive,
  deadLetter,
  filterOf,
  letterQuery,
  purgeAnswers,
  type Redrive,
  redriveAnswers,
  redriveBody,
  selection,
  selectionOf,
  showLetter,
} from "./dead-letter-schemas";
import { mayMoveTo, moveLetters } from "./letter-move-store";
import { type Count, findLetter, listLetters, purgeLetters, redriveLetters } from "./letters-store";
import { parseAfter } from "./partition-routes";
import { type Found, type PathParams, type SubscriptionPlace, withFresh } from "./place-routes";
import { problemOf, problemResponse } from "./problem";
import { type Route, reply, route } from "./route";
import { type LetterPlace, letterPlace, letterText, listOf } from "./schemas";

/** The routes of dead letters. */
export function deadLetterRoutes({ base, tag, params, find }: SubscriptionPlace): readonly Route[] {
  const path = `${base}/dead-letters`;
  const one = params.extend({ id: letterPlace }) as unknown as ZodType<PathParams & { id: LetterPlace }>;
  return [
    route({
      ...{ method: "get", path, tag, access: ["consume", "manage"] },
      summary: "List dead letters",
      description:
        "Those that match, by partition, epoch and offset. A page may be short, or empty, and have a `next`.",
      params,
      query: letterQuery,
      answers: { 200: { description: "A page of dead letters.", schema: listOf("deadLetters", deadLetter) } },
      handle: async ({ broker, params: names, query: { after, limit, ...words } }) => {
        const begin = parseAfter<LetterPlace>(letterPlace, after);
        if (!begin.ok) return begin;
        const listed = await withFresh(
          broker,
          () => find(broker, names),
          (found) => listLetters(broker, found, { where: filterOf(words), after: begin.value, limit }),
        );
        if (!listed.ok) return listed;
        const { letters, next } = listed.value;
        const deadLetters = letters.map(({ partition, letter }) => showLetter(partition, letter));
        return reply(200, { deadLetters, next: next && letterText(next) });
      },
    }),
    route({
      ...{ method: "get", path: `${path}/{id}`, tag, access: ["consume", "manage"] },
      summary: "Show a dead letter",
      params: one,
      answers: { 200: { description: "The dead letter.", schema: deadLetter } },
      handle: async ({ broker, params: { id, ...names } }) => {
        const found = await withFresh(
          broker,
          () => find(broker, names),
          (place) => findLetter(broker, place, id),
        );
        if (!found.ok) return found;
        if (found.value) return reply(200, showLetter(id.partition, found.value));
        return refuse("dead-letter-not-found", `There is no dead letter ${letterText(id)}.`);
      },
    }),
    route({
      ...{ method: "post", path: `${path}/redrive`, tag, access: ["manage"] },
      summary: "Send dead letters round again, or to another topic",
      params,
      body: redriveBody,
      description:
        "What died in an earlier epoch goes round outside its lane, unless this epoch delivers it anyway: then it is `superseded`.",
      answers: redriveAnswers,
      handle: async ({ broker, principal, params: names, body }) => {
        const may = body.toTopic === undefined ? ok(null) : mayMoveTo(principal, body.toTopic);
        if (!may.ok) return may;
        const done = await withFresh(
          broker,
          () => find(broker, names),
          (found) => {
            const note = { action: "redrive", resource: resourceAt(names), details: shownFields(body) };
            return recorded(
              broker,
              note,
              () => send(broker, found, body),
              ({ told }) => shownFields(told),
            );
          },
        );
        return done.ok ? tell(done.value) : done;
      },
    }),
    route({
      ...{ method: "delete", path, tag, access: ["manage"] },
      summary: "Purge dead letters",
      params,
      body: selection,
      answers: purgeAnswers,
      handle: async ({ broker, params: names, body }) => {
        const done = await withFresh(
          broker,
          () => find(broker, names),
          (found) => {
            const note = { action: "purge", resource: resourceAt(names), details: shownFields(body) };
            const purge = () => purgeLetters(broker, found, selectionOf(body));
            return recorded(broker, note, purge, ({ done, more }) => ({ purged: done, more }));
          },
        );
        if (!done.ok) return done;
        const { done: purged, more, stopped } = done.value;
        return tell({ told: { purged, more }, stopped });
      },
    }),
  ];
}

/** What was done, and why no more was, if something stopped it. */
type Told = Readonly<{ told: object; stopped?: BrokerError | undefined }>;

/** Whoever looks at the status alone learns that it is not done, and by the counts how far it came. */
function tell({ told, stopped }: Told) {
  return stopped ? problemResponse(stopped, { ...told }) : reply(200, told);
}

async function send(broker: Broker, found: Found, body: Redrive): Promise<Result<Told>> {
  const rules = checkRedrive(body, found.topic.name, broker.runtime.now());
  if (!rules.ok) return rules;
  const chosen = selectionOf(body);
  if (body.toTopic !== undefined) {
    const moved = await moveLetters(broker, found, chosen, body.toTopic);
    if (!moved.ok) return moved;
    const { done, stopped } = moved.value;
    return ok({ told: { redriven: 0, superseded: 0, moved: done, ...refusalsOf(moved.value) }, stopped });
  }
  const done = await redriveLetters(broker, found, chosen, body);
  if (!done.ok) return done;
  const { done: redriven, superseded, until, stopped } = done.value;
  const next = until !== undefined && { until };
  return ok({ told: { redriven, superseded, ...refusalsOf(done.value), ...next }, stopped });
}

function refusalsOf({ refused, refusals, more }: Count) {
  const shown = refusals.map(({ at, error }) => ({ id: letterText(at), error: problemOf(error) }));
  return { refused, ...(shown.length > 0 && { refusals: shown }), more };
}
