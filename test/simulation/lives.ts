// The lives of names in a world: each topic and subscription that was ever created, found by the generation of an object
// at its first step. A life that was deleted stays, so that nothing can come of it unseen.

import type { SubscriptionSettings, TopicSettings } from "../../src/settings";
import type { D1StandIn } from "./d1-stand-in";
import type { DeliveryWitness, Observation } from "./delivery-witness";
import type { LogWitness } from "./log-witness";
import type { SimulatedObject } from "./object-host";
import type { Picture } from "./picture";

/** One life of a topic. */
export type TopicLife = Readonly<{ name: string; generation: string; log: LogWitness }>;

/** One partition of one life of a subscription, with all that watches it. */
export type Watched = {
  readonly name: string;
  readonly generation: string;
  readonly topic: TopicLife;
  readonly partition: number;
  readonly object: SimulatedObject;
  readonly witness: DeliveryWitness;
  readonly unconfirmed: Observation[];
  /** Undefined once it was removed. */
  picture: Picture | undefined;
  /** Writes of its storage when the picture was made. */
  pictured: number;
};

export type TopicRow = Readonly<{
  generation: string;
  name: string;
  partitions: number;
  version: number;
  state: string;
  settings: TopicSettings;
  /** Said only where priorities are being added. */
  raisingTo?: number | null;
}>;
export type SubscriptionRow = Readonly<{
  generation: string;
  name: string;
  topicGeneration: string;
  partitions: number;
  state: string;
  settings: SubscriptionSettings;
}>;

type Raw = { settings: string } & Record<string, string | number>;

/** The topics that D1 has, past network and outages. */
export function topicRows(catalog: D1StandIn): readonly TopicRow[] {
  return catalog
    .peek<Raw>(
      "SELECT generation, name, kind, partitions, version, state, settings, raising_to AS raisingTo FROM topics",
    )
    .map(({ raisingTo, ...row }) => {
      const settings = JSON.parse(row.settings) as TopicSettings;
      return { ...row, settings, ...(settings.priorities && { raisingTo }) } as unknown as TopicRow;
    });
}

export function subscriptionRows(catalog: D1StandIn): readonly SubscriptionRow[] {
  return catalog
    .peek<Raw>(
      `SELECT generation, name, topic_generation AS topicGeneration, partitions, state, settings
       FROM subscriptions`,
    )
    .map(
      (row) =>
        ({
          ...row,
          settings: JSON.parse(row.settings) as SubscriptionSettings,
        }) as unknown as SubscriptionRow,
    );
}

/** The generation and partition that an object's id tells. */
export function placeOfObject({ id }: SimulatedObject): { generation: string; partition: number } {
  const at = id.lastIndexOf(":");
  return { generation: id.slice(0, at), partition: Number(id.slice(at + 1)) };
}
