// Pull, and settling what was pulled: ack, nack, extend. The same below a subscription and a queue.

import { z } from "zod";
import { limits } from "../limits";
import { present } from "./json";
import { type SubscriptionPlace, withFresh } from "./place-routes";
import { pullMessages } from "./pull-store";
import { type Route, reply, route } from "./route";
import { ackId, instant, messageFields, problem, text, whole } from "./schemas";
import { settle } from "./settle-store";

const pullBody = z
  .strictObject({
    max: whole(1, limits.pullMessages).default(1),
    waitMs: whole(0, limits.pullWaitMs).default(0).meta({ description: "Wait for a message this long." }),
    ackDeadlineMs: whole(limits.minAckDeadlineMs, limits.maxAckDeadlineMs).optional(),
  })
  .meta({ id: "Pull" });

const pulled = z
  .object({
    messages: z.array(
      z
        .object({
          ...messageFields,
          priority: z.int().optional().meta({ description: "Of a topic that has priorities." }),
          attempt: z.int().meta({ description: "1 for the first." }),
          ackId: z.string().optional().meta({
            description: "Settles this delivery. Absent under at-most-once: it is settled already.",
          }),
          deadlineAt: instant.optional(),
          replyTo: z.string().optional().meta({
            description: "It is a request: its reply (`POST …/reply`) names this.",
          }),
        })
        .meta({ id: "PulledMessage" }),
    ),
  })
  .meta({ id: "Pulled" });

const ackIds = z.array(ackId).min(1).max(limits.settleIds);
const ackBody = z.strictObject({ ackIds }).meta({ id: "Ack" });
/** How something is given back. */
export const nackFields = {
  delayMs: whole(0, limits.maxNackDelayMs).optional().meta({ description: "Instead of the backoff." }),
  deadLetter: z.boolean().optional().meta({ description: "Give up: straight to the dead letters." }),
  reason: text(1, limits.reasonLength).optional(),
};
const nackBody = z.strictObject({ ackIds, ...nackFields }).meta({ id: "Nack" });
const extendBody = z
  .strictObject({ ackIds, ackDeadlineMs: whole(limits.minAckDeadlineMs, limits.maxAckDeadlineMs) })
  .meta({ id: "Extend" });

const settled = z
  .object({
    results: z.array(
      z.object({
        ackId: z.string(),
        status: z.enum(["acked", "released", "dead", "extended", "lease-lost"]).optional(),
        error: problem
          .optional()
          .meta({ description: "In place of a status, when its partition cannot say." }),
      }),
    ),
  })
  .meta({ id: "Settled" });
const settledAnswers = { 200: { description: "One result per ack id, in their order.", schema: settled } };

/** The routes of a consumer that pulls. */
export function pullRoutes({ base, tag, params, find }: SubscriptionPlace): readonly Route[] {
  return [
    route({
      ...{ method: "post", path: `${base}/pull`, tag, access: ["consume"] },
      summary: "Lease messages",
      params,
      body: pullBody,
      answers: { 200: { description: "The leased messages; none when nothing came.", schema: pulled } },
      handle: async ({ broker, params: path, body, request }) => {
        const messages = await withFresh(
          broker,
          () => find(broker, path),
          (found) => pullMessages(broker, found, body, request.signal),
        );
        return messages.ok ? reply(200, { messages: messages.value }) : messages;
      },
    }),
    route({
      ...{ method: "post", path: `${base}/ack`, tag, access: ["consume"], settles: true },
      summary: "Settle messages as done",
      params,
      body: ackBody,
      answers: settledAnswers,
      handle: async ({ broker, params: path, body }) => {
        const results = await withFresh(
          broker,
          () => find(broker, path),
          (found) => settle(broker, found, body.ackIds, (partition, refs) => partition.ack({ refs })),
        );
        return results.ok ? reply(200, { results: results.value }) : results;
      },
    }),
    route({
      ...{ method: "post", path: `${base}/nack`, tag, access: ["consume"], settles: true },
      summary: "Give messages back",
      params,
      body: nackBody,
      answers: settledAnswers,
      handle: async ({ broker, params: path, body: { ackIds, ...how } }) => {
        const results = await withFresh(
          broker,
          () => find(broker, path),
          (found) =>
            settle(broker, found, ackIds, (partition, refs) => partition.nack({ refs, ...present(how) })),
        );
        return results.ok ? reply(200, { results: results.value }) : results;
      },
    }),
    route({
      ...{ method: "post", path: `${base}/extend`, tag, access: ["consume"], settles: true },
      summary: "Move ack deadlines",
      params,
      body: extendBody,
      answers: settledAnswers,
      handle: async ({ broker, params: path, body: { ackIds, ackDeadlineMs } }) => {
        const results = await withFresh(
          broker,
          () => find(broker, path),
          (found) =>
            settle(broker, found, ackIds, (partition, refs) => partition.extend({ refs, ackDeadlineMs })),
        );
        return results.ok ? reply(200, { results: results.value }) : results;
      },
    }),
  ];
}
