// Snapshots: where a subscription or a queue stands, kept by name for a seek back.

import { type ZodType, z } from "zod";
import { type Snapshot, SnapshotStore } from "../catalog/snapshot-store";
import { ok, type Result } from "../errors";
import { recorded, resourceAt } from "./audit-log-routes";
import type { Broker } from "./broker";
import { everyPartition, subscriptionAt } from "./partition-routes";
import { type Found, type PathParams, type SubscriptionPlace, withFresh } from "./place-routes";
import { type Route, reply, route } from "./route";
import { instant, listOf, name, page } from "./schemas";

const snapshot = z
  .object({
    name,
    offsets: z
      .record(z.string(), z.int())
      .meta({ description: "By partition: the lowest offset that was not settled." }),
    createdAt: instant,
  })
  .meta({ id: "Snapshot" });

/** The routes of snapshots. */
export function snapshotRoutes({ base, tag, params, find }: SubscriptionPlace): readonly Route[] {
  const path = `${base}/snapshots`;
  const one = params.extend({ snapshot: name }) as unknown as ZodType<PathParams & { snapshot: string }>;
  return [
    route({
      ...{ method: "get", path, tag, access: ["consume", "manage"] },
      summary: "List the snapshots of a position",
      params,
      query: page,
      answers: { 200: { description: "A page, by name.", schema: listOf("snapshots", snapshot) } },
      handle: async ({ broker, params: names, query }) => {
        const found = await find(broker, names);
        if (!found.ok) return found;
        const snapshots = await storeOf(broker).list(found.value.subscription, query);
        const next = snapshots.length === query.limit ? (snapshots.at(-1)?.name ?? null) : null;
        return reply(200, { snapshots, next });
      },
    }),
    route({
      ...{ method: "put", path: `${path}/{snapshot}`, tag, access: ["manage"] },
      summary: "Keep the position under a name",
      description: "A name that is taken keeps its position: delete it first to take another.",
      params: one,
      answers: {
        200: { description: "The position that it has kept since before.", schema: snapshot },
        201: { description: "The position is kept.", schema: snapshot },
      },
      handle: async ({ broker, params: { snapshot: name, ...names } }) => {
        const kept = await withFresh(
          broker,
          () => find(broker, names),
          (found) => recorded(broker, noteOf("create", names, name), () => keep(broker, found, name)),
        );
        return kept.ok ? reply(kept.value.isNew ? 201 : 200, kept.value.snapshot) : kept;
      },
    }),
    route({
      ...{ method: "get", path: `${path}/{snapshot}`, tag, access: ["consume", "manage"] },
      summary: "Show a snapshot",
      params: one,
      answers: { 200: { description: "The snapshot.", schema: snapshot } },
      handle: async ({ broker, params: { snapshot: name, ...names } }) => {
        const found = await find(broker, names);
        if (!found.ok) return found;
        const held = await storeOf(broker).find(found.value.subscription, name);
        return held.ok ? reply(200, held.value) : held;
      },
    }),
    route({
      ...{ method: "delete", path: `${path}/{snapshot}`, tag, access: ["manage"] },
      summary: "Forget a snapshot",
      params: one,
      answers: { 204: { description: "It does not exist." } },
      handle: async ({ broker, params: { snapshot: name, ...names } }) => {
        const found = await find(broker, names);
        if (!found.ok) return found;
        const gone = await recorded(broker, noteOf("delete", names, name), async () => {
          await storeOf(broker).delete(found.value.subscription, name);
          return ok(null);
        });
        return gone.ok ? reply(204, undefined) : gone;
      },
    }),
  ];
}

function noteOf(action: string, names: PathParams, name: string) {
  return { action, resource: resourceAt(names, `/snapshots/${name}`), details: {} };
}

type Kept = Readonly<{ isNew: boolean; snapshot: Snapshot }>;

async function keep(broker: Broker, { topic, subscription }: Found, name: string): Promise<Result<Kept>> {
  const store = storeOf(broker);
  const before = await store.find(subscription, name);
  if (before.ok) return ok({ isNew: false, snapshot: before.value });
  const positions = await everyPartition(topic.partitions, (partition) =>
    subscriptionAt(broker, subscription, partition).position(),
  );
  if (!positions.ok) return positions;
  const offsets = Object.fromEntries(positions.value.map(({ openFrom }, partition) => [partition, openFrom]));
  const inserted = await store.insert(subscription, name, offsets);
  if (!inserted.ok) return inserted;
  const held = await store.find(subscription, name);
  return held.ok ? ok({ isNew: inserted.value, snapshot: held.value }) : held;
}

function storeOf({ env, runtime }: Broker): SnapshotStore {
  return new SnapshotStore(env.CATALOG, runtime);
}
