// The proof, on request, that a subscription has lost nothing: offset by offset, in every partition.

import { z } from "zod";
import { ok } from "../errors";
import { limits } from "../limits";
import { TERMS } from "../timeline-calls";
import { checkPartition, everyPartition, subscriptionAt } from "./partition-routes";
import { type SubscriptionPlace, withFresh } from "./place-routes";
import { type Route, reply, route } from "./route";
import { queryNumber } from "./schemas";

const terms = z.object(Object.fromEntries(TERMS.map((term) => [term, z.int()])));
const partitionAudit = z.object({
  ...{ partition: z.int(), startOffset: z.int(), nextOffset: z.int() },
  auditedFrom: z.int().meta({
    description: "Offsets from here on were looked at; how those before it ended is no longer kept.",
  }),
  auditedTo: z.int().meta({
    description: "Up to here. When it is less than `nextOffset`, ask again with `partition` and `from`.",
  }),
  stored: terms.meta({ description: "The counters." }),
  found: terms.meta({ description: "What was found, offset by offset, in the part that was audited." }),
  overtaken: z.int().meta({
    description: "Not accounted for, and not to be judged: retention removed their messages.",
  }),
  holds: z.boolean(),
  breach: z
    .object({ offset: z.int().optional(), detail: z.string() })
    .optional()
    .meta({ description: "The first offset that breaks the law; none when only a counter is wrong." }),
});
const audit = z
  .object({
    ...{ topic: z.string(), subscription: z.string(), holds: z.boolean() },
    complete: z.boolean().meta({ description: "Every offset since the start was looked at." }),
    partitions: z.array(partitionAudit),
  })
  .meta({ id: "Audit" });

const query = z.strictObject({
  partition: queryNumber(0, limits.partitions - 1).optional(),
  from: queryNumber(0, Number.MAX_SAFE_INTEGER).default(0),
});

/** The audit, below a subscription or a queue. */
export function auditRoutes({ base, tag, params, find }: SubscriptionPlace): readonly Route[] {
  return [
    route({
      ...{ method: "get", path: `${base}/audit`, tag, access: ["consume", "manage"] },
      summary: "Prove that nothing was lost",
      description:
        "Looks at every offset that the subscription took from the log: each must be settled, filtered, expired, " +
        "dead, purged, moved, leased or waiting, and no two of these.",
      params,
      query,
      answers: { 200: { description: "Whether the law holds, by partition.", schema: audit } },
      handle: async ({ broker, params: path, query: { partition, from } }) => {
        const asked = await withFresh(
          broker,
          () => find(broker, path),
          async ({ topic, subscription }) => {
            const exists = partition === undefined ? ok(null) : checkPartition(partition, topic.partitions);
            if (!exists.ok) return exists;
            const first = partition ?? 0;
            const audits = await everyPartition(partition === undefined ? topic.partitions : 1, (at) =>
              subscriptionAt(broker, subscription, first + at).audit({ from }),
            );
            if (!audits.ok) return audits;
            const names = { topic: topic.name, subscription: subscription.name };
            return ok({ ...names, audits: audits.value });
          },
        );
        if (!asked.ok) return asked;
        const { audits: partitions, ...names } = asked.value;
        const holds = partitions.every((each) => each.holds);
        const complete = partitions.every(
          ({ startOffset, auditedFrom, auditedTo, nextOffset }) =>
            auditedFrom === startOffset && auditedTo === nextOffset,
        );
        return reply(200, { ...names, holds, complete, partitions });
      },
    }),
  ];
}
