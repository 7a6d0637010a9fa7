// How far producers have come, so that one that was killed knows where to go on. The same below a topic and a queue.

import { type ZodType, z } from "zod";
import type { AuditDetails } from "../catalog/audit-details";
import type { TopicEntry } from "../catalog/catalog-entry";
import { ok, type Result } from "../errors";
import { limits } from "../limits";
import { layoutOf } from "../priority";
import { partitionOf } from "../record-batch";
import type { ProducerPlace } from "../topic-calls";
import { recorded, resourceAt } from "./audit-log-routes";
import type { Broker } from "./broker";
import { checkPartition, everyPartition, topicAt } from "./partition-routes";
import { type PathParams, type TopicPlace, withFresh } from "./place-routes";
import { type Route, reply, route } from "./route";
import { instant, name, whole } from "./schemas";

const sequence = whole(0, limits.maxSequence);
const shown = z
  .object({
    name,
    partition: z.int().meta({ description: "Where its messages without an ordering key go." }),
    lastSequence: sequence.meta({ description: "There: the next one has the number after it." }),
    partitions: z
      .array(z.object({ partition: z.int(), lastSequence: sequence, lastAt: instant }))
      .meta({ description: "Every partition in which it is known." }),
  })
  .meta({ id: "Producer" });
const beginBody = z
  .strictObject({
    partition: whole(0, limits.partitions - 1)
      .optional()
      .meta({
        description: "Without it, where its messages without an ordering key go.",
      }),
    lastSequence: sequence,
  })
  .meta({ id: "ProducerBegins" });

/** The routes of producers. */
export function producerRoutes({ base, tag, params, findTopic }: TopicPlace): readonly Route[] {
  const one = params.extend({ name }) as unknown as ZodType<PathParams & { name: string }>;
  const path = `${base}/producers/{name}`;
  const found = (broker: Broker, at: PathParams) => async () => {
    const topic = await findTopic(broker, at);
    return topic.ok ? ok({ topic: topic.value }) : topic;
  };
  const look = async (broker: Broker, at: PathParams, producer: string) => {
    const places = await withFresh(broker, found(broker, at), ({ topic }) => find(broker, topic, producer));
    return places.ok ? reply(200, places.value) : places;
  };
  return [
    route({
      ...{ method: "get", path, tag, access: ["publish", "manage"] },
      summary: "Say how far a producer has come",
      description: "One that was never met has come to 0: it begins at 1.",
      params: one,
      answers: { 200: { description: "Its last accepted sequence numbers.", schema: shown } },
      handle: ({ broker, params: { name: producer, ...at } }) => look(broker, at, producer),
    }),
    route({
      ...{ method: "put", path, tag, access: ["manage"] },
      summary: "Let a producer go on from another number",
      description: "What it then sends with a number up to `lastSequence` is taken as sent before, unseen.",
      params: one,
      body: beginBody,
      answers: { 200: { description: "Its last accepted sequence numbers.", schema: shown } },
      handle: async ({ broker, params: { name: producer, ...at }, body }) => {
        const begun = await withFresh(broker, found(broker, at), async ({ topic }) => {
          const partition = body.partition ?? partitionOf(producer, layoutOf(topic).each);
          const exists = checkPartition(partition, topic.partitions);
          if (!exists.ok) return exists;
          const call = { name: producer, lastSequence: body.lastSequence };
          const note = noteOf("change", at, producer, { partition, lastSequence: body.lastSequence });
          return recorded(broker, note, () => topicAt(broker, topic, partition).beginProducer(call));
        });
        return begun.ok ? look(broker, at, producer) : begun;
      },
    }),
    route({
      ...{ method: "delete", path, tag, access: ["manage"] },
      summary: "Forget a producer",
      description:
        "In every partition. If it comes again it begins at 1, and what it sends again is stored again.",
      params: one,
      answers: { 204: { description: "It is unknown." } },
      handle: async ({ broker, params: { name: producer, ...at } }) => {
        const forgotten = await withFresh(broker, found(broker, at), ({ topic }) =>
          recorded(broker, noteOf("delete", at, producer), () =>
            everyPartition(topic.partitions, (partition) =>
              topicAt(broker, topic, partition).forgetProducer({ name: producer }),
            ),
          ),
        );
        return forgotten.ok ? reply(204, undefined) : forgotten;
      },
    }),
  ];
}

function noteOf(action: string, at: PathParams, producer: string, details: AuditDetails = {}) {
  return { action, resource: resourceAt(at, `/producers/${producer}`), details };
}

type Shown = z.infer<typeof shown>;

async function find(broker: Broker, topic: TopicEntry, producer: string): Promise<Result<Shown>> {
  const all = await everyPartition(topic.partitions, async (partition) => {
    const place = await topicAt(broker, topic, partition).producer({ name: producer });
    return place.ok ? ok(known(partition, place.value)) : place;
  });
  if (!all.ok) return all;
  const partitions = all.value.flat();
  const partition = partitionOf(producer, layoutOf(topic).each);
  const lastSequence = partitions.find((place) => place.partition === partition)?.lastSequence ?? 0;
  return ok({ name: producer, partition, lastSequence, partitions });
}

function known(partition: number, place: ProducerPlace | null) {
  return place ? [{ partition, ...place }] : [];
}
