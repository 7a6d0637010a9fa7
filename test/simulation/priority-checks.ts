// What priorities promise of a pull: the highest first, and every tenth from the lowest. Of each pull the order is looked at;
// the turns once at the end, when nothing else goes on.

import { ok, type Result } from "../../src/errors";
import type { Broker } from "../../src/http/broker";
import { subscriptionPlace } from "../../src/http/place-routes";
import type { Draft } from "../../src/http/publish-items";
import { publishItems } from "../../src/http/publish-store";
import { type Pulling, pullMessages } from "../../src/http/pull-store";
import { limits } from "../../src/limits";
import { DEFAULT_PRIORITY, layoutOf } from "../../src/priority";
import type { PulledMessage } from "../../src/pulled-message";
import type { Owner } from "./agenda";
import { bytes } from "./clients";
import type { Counts } from "./coverage";
import { TOPIC } from "./plan";
import type { Steps } from "./steps";
import type { World } from "./world";

/** What a pull got, and of which life of its subscription. */
export type PulledFrom = Readonly<{ generation: string; messages: readonly PulledMessage[] }>;

/** A pull over all partitions of the topic's subscription. */
export async function pullOver(broker: Broker, name: string, pulling: Pulling): Promise<Result<PulledFrom>> {
  const found = await subscriptionPlace.find(broker, { topic: TOPIC, subscription: name });
  if (!found.ok) return found;
  const pulled = await pullMessages(broker, found.value, pulling, new AbortController().signal);
  if (!pulled.ok) return pulled;
  return ok({ generation: found.value.subscription.generation, messages: pulled.value });
}

/** The lease that a message was handed out under, as its ack id says. */
export function leaseOf({ ackId = "" }: PulledMessage): string {
  return ackId.split(".").slice(2).join(".");
}

/** From the highest priority down, but that those of the lowest that has something come first when it is their turn. */
export function checkHighestFirst(messages: readonly PulledMessage[], counts: Counts): void {
  const all = messages.map(({ priority = DEFAULT_PRIORITY }) => priority);
  const runs = all.filter((priority, i) => priority !== all[i - 1]);
  const rises = runs.flatMap((priority, i) => (i > 0 && priority > (runs[i - 1] ?? 0) ? [i] : []));
  if (rises.some((i) => i > 1) || new Set(runs).size < runs.length)
    throw new Error(`a pull handed out the priorities ${all.join(", ")}`);
  if (runs.length > 1) counts.pullsOfSeveral += 1;
  if (rises.length > 0) counts.lowestFirst += 1;
}

/** At the end: with enough of each priority, of as many pulls as make a round just one is of the lowest, all others of the highest. */
export async function checkTurns(world: World, steps: Steps): Promise<void> {
  const reader = world.plan.subscriptions.find(({ settings }) => settings.type === "pull");
  const row = world.topicRow();
  // Whoever was left paused is handed nothing.
  const isPaused = world.living.some(({ name, picture }) => name === reader?.name && picture?.paused);
  if (!reader || !row || isPaused || world.plan.features.has("filters")) return;
  const { each, priorities } = layoutOf(row);
  const highest = Math.max(...priorities);
  for (const priority of priorities) await publishSome(world, steps, priority);
  const got: number[] = [];
  for (let pulls = 0; pulls < limits.pullsPerLowest; pulls++) {
    const { generation, messages } = await request(world, steps, (broker) =>
      pullOver(broker, reader.name, { max: 1, waitMs: 0 }),
    );
    got.push(...messages.map(({ priority = DEFAULT_PRIORITY }) => priority));
    await ackAll(world, steps, { generation, messages });
  }
  const lowest = got.filter((priority) => priority === DEFAULT_PRIORITY).length;
  const isOnTurn = each > 1 ? lowest <= each : lowest === 1;
  const isRest = got.every((priority) => priority === DEFAULT_PRIORITY || priority === highest);
  if (highest > DEFAULT_PRIORITY && !(isOnTurn && isRest && got.length === limits.pullsPerLowest))
    throw new Error(`${limits.pullsPerLowest} pulls handed out the priorities ${got.join(", ")}`);
  if (highest > DEFAULT_PRIORITY) world.counts.lowestFirst += lowest;
  world.counts.turnsChecked += 1;
}

async function publishSome(world: World, steps: Steps, priority: number): Promise<void> {
  const { publications, platform } = world;
  const row = world.topicRow();
  if (!row) throw new Error("the topic is gone");
  const publishedAt = platform.agenda.now;
  const drafts: Draft[] = Array.from({ length: limits.pullsPerLowest }, () => {
    const id = steps.clients.fresh("turn");
    const message = { id, publishedAt, contentType: "text/plain", body: bytes(id) };
    return { message, isClientId: true, priority };
  });
  const floors = publications.publishing(drafts);
  const items = drafts.map((draft) => ok(draft));
  const publish = { items, atomic: false, wait: true };
  const outcomes = await request(world, steps, async (broker) =>
    ok(await publishItems(broker, world.entryOf(row), publish)),
  );
  for (const [index, outcome] of outcomes) {
    const draft = drafts[index];
    if (draft) publications.answered(draft.message, outcome, floors, platform.agenda.now);
  }
}

async function ackAll(world: World, steps: Steps, { generation, messages }: PulledFrom): Promise<void> {
  for (const message of messages) {
    const watched = world.watch.at(generation, message.partition);
    if (!watched || message.ackId === undefined) continue;
    const refs = [{ offset: message.offset, leaseId: leaseOf(message) }];
    await world.finish(steps.clients.subscription(watched).ack({ refs }));
  }
}

/** A request to the broker, and what it came to. */
function request<T>(world: World, steps: Steps, work: (broker: Broker) => Promise<Result<T>>): Promise<T> {
  const carried = (owner: Owner) => work(world.platform.brokerFor(owner));
  const answer = new Promise<Result<T>>((resolve) => {
    steps.clients.ask("http", carried, { answered: (value) => resolve(value as Result<T>) });
  });
  return world.finish(answer);
}
