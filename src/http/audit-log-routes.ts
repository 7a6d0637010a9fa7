// The audit log: who changed what, and when. Changes of objects are recorded here around the call that makes them;
// those of the catalog are in the same D1 batch as the change (catalog/audit-log-store.ts).

import { z } from "zod";
import { type AuditDetails, type AuditNote, BROKER } from "../catalog/audit-details";
import { AuditLogStore, type AuditRecord } from "../catalog/audit-log-store";
import { CatalogFault } from "../catalog/catalog-store";
import type { Result } from "../errors";
import { limits } from "../limits";
import type { Broker } from "./broker";
import type { PathParams } from "./place-routes";
import { type Route, reply, route } from "./route";
import { instant, listOf, page, queryNumber, text } from "./schemas";

const value = z.union([z.string(), z.number(), z.boolean(), z.null()]);
const record = z
  .object({
    number: z.int().meta({ description: "Rises with every record, and may leave some out." }),
    at: instant,
    actor: z.string().meta({ description: "A token's id, `root`, or `broker` for what it did by itself." }),
    actorName: z.string().meta({ description: "The token's name at that time." }),
    action: z.string().meta({ example: "create" }),
    resource: z.string().meta({ example: "topics/orders/subscriptions/mail" }),
    requestId: z.string().meta({ description: "As in the answer's `Pennypost-Request-Id`." }),
    outcome: z.string().meta({
      description: "`done`, the code of the refusal, or `begun` when its end was not heard of.",
    }),
    details: z
      .record(z.string(), z.union([value, z.object({ from: value.optional(), to: value.optional() })]))
      .meta({ description: "Fields as they are, or were and are. Secrets are `(set)` or `(another)`." }),
  })
  .meta({ id: "AuditRecord" });

const queryInstant = queryNumber(0, Number.MAX_SAFE_INTEGER);

export const auditLogRoute: Route = route({
  ...{ method: "get", path: "/v1/audit-log", tag: "Audit log", access: ["admin"] },
  summary: "List who changed what",
  description: `Newest first. Kept for ${limits.auditKeptMs / 86_400_000} days, and of ${limits.auditRecords} records the newest.`,
  query: z.strictObject({
    after: queryNumber(1, Number.MAX_SAFE_INTEGER)
      .optional()
      .meta({ description: "The `next` of the page before." }),
    limit: page.shape.limit,
    resource: text(1, limits.auditTextLength)
      .optional()
      .meta({ description: "And what is below it.", example: "topics/orders" }),
    actor: text(1, limits.auditTextLength).optional(),
    since: queryInstant.optional(),
    until: queryInstant.optional(),
  }),
  answers: { 200: { description: "A page of records.", schema: listOf("records", record) } },
  handle: async ({ broker, query: { after, ...query } }) => {
    const records = await storeOf(broker).list({ ...query, before: after });
    const next = records.length === query.limit ? nextOf(records) : null;
    return reply(200, { records, next });
  },
});

/**
 * Makes a change under a record: noted before it is begun, so that none goes unnoted, and with its outcome after. While
 * D1 is away it is not begun: that throws a CatalogFault.
 */
export async function recorded<T>(
  broker: Broker,
  note: Omit<AuditNote, "by">,
  work: () => Promise<Result<T>>,
  told: (value: T) => AuditDetails = () => ({}),
): Promise<Result<T>> {
  const store = storeOf(broker);
  const number = await store.begin({ ...note, by: broker.catalog.by ?? BROKER });
  const done = await work();
  const outcome = done.ok ? "done" : done.error.code;
  const details = { ...note.details, ...(done.ok && told(done.value)) };
  // What was done is done: a record that cannot be ended stays `begun`.
  await store.end(number, outcome, details).catch((fault: unknown) => {
    if (!(fault instanceof CatalogFault)) throw fault;
  });
  return done;
}

/** What a path names, as the audit log names it; `more` is below that. */
export function resourceAt({ topic, subscription, queue }: PathParams, more = ""): string {
  const below = subscription === undefined ? "" : `/subscriptions/${subscription}`;
  return `${queue === undefined ? `topics/${topic}` : `queues/${queue}`}${below}${more}`;
}

function nextOf(records: readonly AuditRecord[]): string | null {
  const last = records.at(-1);
  return last ? String(last.number) : null;
}

function storeOf({ env, runtime }: Broker): AuditLogStore {
  return new AuditLogStore(env.CATALOG, runtime);
}
