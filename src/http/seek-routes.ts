// Seek: a subscription or a queue is moved to another place of its log, partition by partition. Every partition is
// asked first what would happen, so that a seek which one of them refuses moves none.

import { z } from "zod";
import { shownFields } from "../catalog/audit-details";
import { SnapshotStore } from "../catalog/snapshot-store";
import { ok, type Result, refuse } from "../errors";
import { limits } from "../limits";
import type { SeekAnswer, SeekPoint } from "../seek-calls";
import { recorded, resourceAt } from "./audit-log-routes";
import type { Broker } from "./broker";
import { parse } from "./parse";
import { checkOffsets, partitionsInTurn, somePartitions, subscriptionAt } from "./partition-routes";
import { type Found, type SubscriptionPlace, withFresh } from "./place-routes";
import { type Route, reply, route } from "./route";
import { instant, name, text, whole } from "./schemas";

const to = z
  .union([
    z.enum(["earliest", "latest"]),
    z.strictObject({
      offsets: z
        .record(z.string().regex(/^\d{1,2}$/), whole(0, Number.MAX_SAFE_INTEGER))
        .refine((offsets) => Object.keys(offsets).length > 0, "at least one partition is needed"),
    }),
    z.strictObject({ time: instant }),
    z.strictObject({ snapshot: name }),
  ])
  .meta({ description: "Partitions that `offsets` does not name stay where they are." });

const seekBody = z
  .strictObject({
    to,
    reprocess: z.boolean().default(false).meta({
      description: "Completed work is to be processed again. Only effectively-once can do without.",
    }),
    dryRun: z.boolean().default(false).meta({ description: "Count, and change nothing." }),
  })
  .meta({ id: "Seek" });
type Seek = z.output<typeof seekBody>;

const counts = {
  again: z.int().meta({ description: "Messages taken before that will be taken again." }),
  skipped: z.int().meta({ description: "Messages never taken that are passed over." }),
  voided: z.object({ leased: z.int(), waiting: z.int() }).meta({
    description: "Deliveries in hand that are dropped. From the new place on they are taken again.",
  }),
  overtaken: z.int().meta({ description: "Offsets asked for that retention has removed." }),
};
const sought = z
  .object({
    dryRun: z.boolean(),
    total: z.object(counts),
    partitions: z.array(
      z.object({
        partition: z.int(),
        epoch: z.int().meta({ description: "The epoch that begins." }),
        fromOffset: z.int(),
        toOffset: z.int(),
        ...counts,
        reprocesses: z.boolean().meta({ description: "Whether completed work is processed again." }),
      }),
    ),
  })
  .meta({ id: "Sought" });

/** Seek, below a subscription or a queue. */
export function seekRoutes({ base, tag, params, find }: SubscriptionPlace): readonly Route[] {
  return [
    route({
      ...{ method: "post", path: `${base}/seek`, tag, access: ["manage"] },
      summary: "Move to another place of the log",
      description:
        "Open leases are void, what waits is dropped, counters begin anew, dead letters stay. The same `Idempotency-Key` again moves nothing a second time.",
      params,
      headers: z.object({ "idempotency-key": z.string().optional() }),
      body: seekBody,
      answers: { 200: { description: "What it did, or would do.", schema: sought } },
      handle: async ({ broker, params: names, body, request }) => {
        const seekId = seekIdOf(broker, request);
        if (!seekId.ok) return seekId;
        const done = await withFresh(
          broker,
          () => find(broker, names),
          (found) => {
            const seek = () => seekAll(broker, found, body, seekId.value);
            if (body.dryRun) return seek();
            const details = shownFields({ to: body.to, reprocess: body.reprocess });
            return recorded(broker, { action: "seek", resource: resourceAt(names), details }, seek);
          },
        );
        if (!done.ok) return done;
        return reply(200, { dryRun: body.dryRun, total: totalOf(done.value), partitions: done.value });
      },
    }),
  ];
}

async function seekAll(
  broker: Broker,
  found: Found,
  { to, reprocess, dryRun }: Seek,
  seekId: string,
): Promise<Result<readonly SeekAnswer[]>> {
  const points = await pointsOf(broker, found, to);
  if (!points.ok) return points;
  const partitions = [...points.value.keys()];
  const ask = (isDry: boolean) => (partition: number) => {
    const point = points.value.get(partition) ?? { at: "latest" };
    const call = { seekId, to: point, reprocess, dryRun: isDry };
    return subscriptionAt(broker, found.subscription, partition).seek(call);
  };
  const planned = await somePartitions(partitions, ask(true));
  if (!planned.ok || dryRun) return planned;
  if (!reprocess && planned.value.some(({ reprocesses }) => reprocesses)) return unasked();
  // In turn: what a key has in its former partition is there again before anything of its new one is taken again.
  return partitionsInTurn(partitions, ask(false));
}

function unasked() {
  return refuse(
    "conflict",
    "Completed work would be processed again, and only an effectively-once subscription knows what was completed: say `reprocess`.",
    { field: "reprocess" },
  );
}

/** Where each partition goes; those that stay are left out. */
async function pointsOf(
  { env, runtime }: Broker,
  { topic, subscription }: Found,
  to: Seek["to"],
): Promise<Result<ReadonlyMap<number, SeekPoint>>> {
  const all = (point: (partition: number) => SeekPoint) =>
    ok(new Map([...Array(topic.partitions).keys()].map((partition) => [partition, point(partition)])));
  if (to === "earliest" || to === "latest") return all(() => ({ at: to }));
  if ("time" in to) return all(() => ({ at: "time", time: to.time }));
  if ("snapshot" in to) {
    const snapshot = await new SnapshotStore(env.CATALOG, runtime).find(subscription, to.snapshot);
    if (!snapshot.ok) return snapshot;
    const { offsets } = snapshot.value;
    // A partition that there was none of yet had nothing settled.
    return all((partition) => ({ at: "offset", offset: offsets[String(partition)] ?? 0 }));
  }
  const exist = checkOffsets("to.offsets", to.offsets, topic.partitions);
  if (!exist.ok) return exist;
  return ok(
    new Map(
      Object.entries(to.offsets).map(([partition, offset]) => [Number(partition), { at: "offset", offset }]),
    ),
  );
}

function totalOf(answers: readonly SeekAnswer[]) {
  const sum = (term: (answer: SeekAnswer) => number) =>
    answers.reduce((total, answer) => total + term(answer), 0);
  return {
    again: sum(({ again }) => again),
    skipped: sum(({ skipped }) => skipped),
    voided: { leased: sum(({ voided }) => voided.leased), waiting: sum(({ voided }) => voided.waiting) },
    overtaken: sum(({ overtaken }) => overtaken),
  };
}

/** Of the client's choice, so that it may ask again; else a new one for each request. */
function seekIdOf({ runtime }: Broker, request: Request): Result<string> {
  const key = request.headers.get("idempotency-key");
  if (key === null) return ok(runtime.newId());
  const schema = z
    .object({ "idempotency-key": text(1, limits.messageIdLength) })
    .transform((headers) => headers["idempotency-key"]);
  return parse(schema, { "idempotency-key": key });
}
