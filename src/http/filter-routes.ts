// A dry run of a filter: would this message be delivered, and if not, why. Nothing is published, and nothing changes.

import { z } from "zod";
import { Candidate } from "../filter/candidate";
import { compileFilter } from "../filter/matcher";
import { filterForm } from "./filter-schemas";
import type { SubscriptionPlace } from "./place-routes";
import { readItemAt } from "./publish-items";
import { item } from "./publish-schemas";
import { type Route, reply, route } from "./route";

const dryRun = z
  .strictObject({
    message: item.meta({ description: "As it would be published in a batch." }),
    filter: filterForm.optional().meta({ description: "In place of the one that is set, to try it out." }),
  })
  .meta({ id: "FilterTest" });

const verdict = z
  .object({
    matches: z.boolean(),
    why: z
      .array(z.object({ field: z.string(), detail: z.string() }))
      .meta({ description: "What does not match, by its place in the message; empty when it matches." }),
    filter: filterForm
      .nullable()
      .meta({ description: "The filter it was held against; null: there is none." }),
    version: z
      .int()
      .nullable()
      .meta({ description: "Of the subscription; null when the request brought the filter." }),
  })
  .meta({ id: "FilterVerdict" });

/** The dry run, below a subscription or a queue. */
export function filterRoutes({ base, tag, params, find }: SubscriptionPlace): readonly Route[] {
  return [
    route({
      ...{ method: "post", path: `${base}/filter/test`, tag, access: ["consume", "manage"] },
      summary: "Say whether a message would match the filter, and why not",
      params,
      body: dryRun,
      answers: { 200: { description: "Whether it matches.", schema: verdict } },
      handle: async ({ broker, params: names, body }) => {
        const found = await find(broker, names);
        if (!found.ok) return found;
        const { runtime } = broker;
        const stamp = { publishedAt: runtime.now(), newId: () => runtime.newId() };
        const draft = readItemAt(body.message, "message", stamp);
        if (!draft.ok) return draft;
        const { settings, version } = found.value.subscription;
        const filter = body.filter ?? settings.filter ?? null;
        // Whether others match it is not looked at: an alternate is asked about the rest of its filter.
        const message = { ...draft.value.message, unmatched: true as const };
        const why = filter ? compileFilter(filter).explain(new Candidate(message)) : [];
        const tried = { filter, version: body.filter ? null : version };
        return reply(200, { matches: why.length === 0, why, ...tried });
      },
    }),
  ];
}
