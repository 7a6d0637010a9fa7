// The failed attempts of a subscription's deliveries: what its endpoint or consumers answered, and when the next is due.

import { z } from "zod";
import { ATTEMPT_RESULTS, type AttemptResult } from "../attempt";
import type { FailedDelivery } from "../attempt-calls";
import { ok, type Result } from "../errors";
import { limits } from "../limits";
import type { Broker } from "./broker";
import { attempt } from "./dead-letter-schemas";
import { nextOf, placeAfter, subscriptionAt, walk } from "./partition-routes";
import { type Found, type SubscriptionPlace, withFresh } from "./place-routes";
import { type Route, reply, route } from "./route";
import { askedInstant, instant, listOf, messageId, type Place, page, queryNumber } from "./schemas";
import { locate } from "./timeline-store";

const query = page.extend({
  status: queryNumber(100, 599).optional().meta({ description: "What the endpoint answered." }),
  result: z.enum(ATTEMPT_RESULTS).optional().meta({
    description:
      "answered: by the endpoint, and no 2xx. no-answer: a request was made. deadline: nothing was said until it passed. given-back: with a reason.",
  }),
  since: z
    .union([queryNumber(0, Number.MAX_SAFE_INTEGER), askedInstant])
    .optional()
    .meta({ description: "Attempts from this instant on." }),
  messageId: messageId.optional(),
});

const failed = z
  .object({
    ...{ partition: z.int(), offset: z.int() },
    state: z.enum(["waiting", "leased", "dead"]),
    attempts: z.int().meta({ description: "All that counted." }),
    nextAttemptAt: instant.optional(),
    history: z
      .array(attempt)
      .meta({ description: "Those that match, of the newest ten; `error` is the answer's beginning." }),
  })
  .meta({ id: "FailedDelivery" });

type Asked = Readonly<{
  status: number | undefined;
  result: AttemptResult | undefined;
  since: number | undefined;
  at: Place | undefined;
}>;

/** The search for attempts, below a subscription or a queue. */
export function attemptRoutes({ base, tag, params, find }: SubscriptionPlace): readonly Route[] {
  return [
    route({
      ...{ method: "get", path: `${base}/attempts`, tag, access: ["consume", "manage"] },
      summary: "Search failed attempts",
      description:
        "Of deliveries that wait, are leased or died in this epoch, by partition and offset. What was delivered at last " +
        "keeps its count of attempts in its timeline, and no notes of them.",
      ...{ params, query },
      answers: { 200: { description: "A page.", schema: listOf("deliveries", failed) } },
      handle: async ({ broker, params: names, query: { after, limit, messageId: id, ...sought } }) => {
        const begin = placeAfter(after);
        if (!begin.ok) return begin;
        const { since, status, result } = sought;
        const from = typeof since === "string" ? Date.parse(since) : since;
        const listed = await withFresh(
          broker,
          () => find(broker, names),
          async (found) => {
            const at = id === undefined ? ok(undefined) : await placeOf(broker, found, id);
            if (!at.ok) return at;
            if (id !== undefined && at.value === undefined) return ok({ items: [], next: null });
            return search(
              broker,
              found,
              { after: begin.value, limit },
              { status, result, since: from, at: at.value },
            );
          },
        );
        if (!listed.ok) return listed;
        const { items, next } = listed.value;
        const deliveries = items.map(({ partition, item }) => ({ partition, ...item }));
        return reply(200, { deliveries, next: nextOf(next) });
      },
    }),
  ];
}

/** Where the message is; undefined when it has no place yet. */
async function placeOf(broker: Broker, { topic }: Found, id: string): Promise<Result<Place | undefined>> {
  const located = await locate(broker, topic, { id });
  return located.ok ? ok(located.value.place) : located;
}

function search(
  broker: Broker,
  { topic, subscription }: Found,
  { after, limit }: Readonly<{ after: Place | undefined; limit: number }>,
  { status, result, since, at }: Asked,
) {
  const sought = {
    ...(status !== undefined && { status }),
    ...(result !== undefined && { result }),
    ...(since !== undefined && { since }),
  };
  return walk<FailedDelivery>({
    ...{ partitions: topic.partitions, after, limit, maxBytes: limits.pullBytes },
    bytesOf: ({ history }) => history.length * limits.responseKeptLength,
    offsetOf: ({ offset }) => offset,
    ask: async (partition, afterOffset, most) => {
      if (at && at.partition !== partition) return ok([]);
      const one = at && { offset: at.offset };
      const call = { ...sought, ...one, after: afterOffset, limit: most };
      const answer = await subscriptionAt(broker, subscription, partition).attempts(call);
      return answer.ok ? ok(answer.value.deliveries) : answer;
    },
  });
}
