// Record batches that could not reach their topic: listed, sent on, or given up by the operator.

import { z } from "zod";
import { shownFields } from "../catalog/audit-details";
import { resendStranded, StrandedStore } from "../catalog/stranded-store";
import { recorded } from "./audit-log-routes";
import type { Broker } from "./broker";
import { type Route, reply, route } from "./route";
import { instant, listOf, name, page, text } from "./schemas";

const tag = "Stranded";
const base = "/v1/stranded";
const access = ["admin"] as const;
const params = z.object({ id: text(1, 128) });

const stranded = z
  .object({
    id: z.string(),
    topic: z.string().nullable(),
    generation: z.string().nullable(),
    partition: z.int().nullable(),
    reason: z.enum(["gone", "undeliverable", "unreadable"]),
    messageCount: z.int(),
    bytes: z.int(),
    strandedAt: instant,
  })
  .meta({ id: "StrandedBatch" });
const resent = z.object({ partition: z.int(), firstOffset: z.int(), count: z.int(), refused: z.int() });

export const strandedRoutes: readonly Route[] = [
  route({
    ...{ method: "get", path: base, tag, access },
    summary: "List record batches that could not reach their topic",
    query: page,
    answers: { 200: { description: "A page, by id.", schema: listOf("stranded", stranded) } },
    handle: async ({ broker, query }) => {
      const batches = await storeOf(broker).list(query);
      const next = batches.length === query.limit ? (batches.at(-1)?.id ?? null) : null;
      return reply(200, { stranded: batches, next });
    },
  }),
  route({
    ...{ method: "post", path: `${base}/{id}/resend`, tag, access },
    summary: "Send a record batch on",
    description: "To where it was bound, or to the topic that is named. Sent twice, it is stored once.",
    params,
    body: z.strictObject({ topic: name.optional() }).meta({ id: "Resend" }),
    answers: { 200: { description: "It is stored, and stranded no more.", schema: resent } },
    handle: async ({ broker, params: { id }, body: { topic } }) => {
      const note = { action: "resend", resource: `stranded/${id}`, details: shownFields({ topic }) };
      const sent = await recorded(broker, note, () => resendStranded(broker.catalog, id, topic));
      if (!sent.ok) return sent;
      const { partition, answer } = sent.value;
      const refused = answer.exceptions.filter((exception) => "error" in exception).length;
      return reply(200, { partition, firstOffset: answer.firstOffset, count: answer.count, refused });
    },
  }),
  route({
    ...{ method: "delete", path: `${base}/{id}`, tag, access },
    summary: "Give a record batch up, with its messages",
    params,
    answers: { 204: { description: "It is gone." } },
    handle: async ({ broker, params: { id } }) => {
      const note = { action: "delete", resource: `stranded/${id}`, details: {} };
      const deleted = await recorded(broker, note, () => storeOf(broker).delete(id));
      return deleted.ok ? reply(204, undefined) : deleted;
    },
  }),
];

function storeOf({ env, runtime }: Broker): StrandedStore {
  return new StrandedStore(env.CATALOG, runtime);
}
