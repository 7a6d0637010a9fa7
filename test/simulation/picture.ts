// What a subscription has in hand, as a witness sees it: once as its memory has it, once read afresh from its storage.

import { limits } from "../../src/limits";
import type { SubscriptionSettings } from "../../src/settings";
import { Backlog } from "../../src/subscription/backlog";
import type { Counters } from "../../src/subscription/counters";
import type { Health } from "../../src/subscription/endpoint-health";
import { isHeld } from "../../src/subscription/lane";
import { blockedLanes } from "../../src/subscription/stats";
import { SubscriptionStore } from "../../src/subscription/subscription-store";
import type { DeadLetterReason } from "../../src/subscription-calls";
import type { SimulatedObject } from "./object-host";

export type InHand = Readonly<
  { key: string | undefined; attempts: number } & (
    | { state: "leased"; leaseId: string; deadlineAt: number }
    | { state: "waiting"; availableAt: number; lastLeaseId: string | undefined }
    | { state: "dying" }
  )
>;

export type Grave = Readonly<{ reason: DeadLetterReason; hasRecord: boolean; parks: boolean }>;

export type Picture = Readonly<{
  backlog: Backlog;
  counters: Readonly<Counters>;
  inHand: ReadonlyMap<number, InHand>;
  followers: number;
  /** Lanes that have followers, with how many. */
  lanes: Readonly<Record<string, number>>;
  blockedLanes: number;
  /** The instants at which something falls due, without what stands behind a held lane. */
  deadlines: readonly number[];
  waitingFrom: number | undefined;
  /** Until when a push subscription leaves its endpoint alone, or waits for a dispatch that may still be alive. */
  heldUntil: number;
  dead: ReadonlyMap<number, Grave>;
  /** What the gap records of this epoch count. */
  gapCount: number;
  paused: boolean;
  settings: SubscriptionSettings;
  version: number;
  /** The partition that a raise made this one of. */
  parent: number | undefined;
  leasedCount: number;
  waitingCount: number;
}>;

type Memory = Readonly<{
  backlog: Backlog;
  row: Readonly<{ settings: SubscriptionSettings }>;
  endpoint: Readonly<{ nextSendAt: number }>;
}>;

/** Memory as it is, if the object has an instance that is loaded. */
export function memoryOf(object: SimulatedObject): Memory | undefined {
  return (object.live?.instance as unknown as { memory?: { loaded?: Memory } } | undefined)?.memory?.loaded;
}

/** Until when its pace has it begin no dispatch: what one carries counts as sent until that tells how far it came. */
export function pacedUntil(object: SimulatedObject, { settings: { push } }: Picture): number {
  if (push?.rate === undefined && push?.drainPerSecond === undefined) return 0;
  return memoryOf(object)?.endpoint.nextSendAt ?? 0;
}

/** How far the subscription will read by itself: to the end while it knows of more, or is in doubt and looks again. */
export function reachOf(object: SimulatedObject, stored: Backlog): number {
  const { knownHead, isInDoubt, counters } = memoryOf(object)?.backlog ?? stored;
  const isLooking = object.storage.alarmAt !== undefined || (object.live?.asking ?? 0) > 0;
  const isToEnd = knownHead > counters.nextOffset || (isInDoubt && isLooking);
  return isToEnd ? Number.POSITIVE_INFINITY : counters.nextOffset;
}

/** What the storage tells; undefined when nothing was ever provisioned, or all was removed. */
export function pictureOf(object: SimulatedObject): Picture | undefined {
  const store = new SubscriptionStore(object.storage as unknown as DurableObjectStorage);
  const row = store.subscription();
  if (!row || row.deleted) return undefined;
  const backlog = new Backlog(store.load());
  const dead = object.storage.sql
    .exec(
      "SELECT offset, reason, parks, record IS NOT NULL AS whole FROM dead_letters WHERE epoch = ?1",
      backlog.counters.epoch,
    )
    .toArray() as { offset: number; reason: DeadLetterReason; parks: number; whole: number }[];
  return {
    backlog,
    counters: backlog.counters,
    inHand: inHandOf(backlog),
    followers: backlog.followerCount,
    lanes: lanesOf(backlog),
    blockedLanes: blockedLanes(backlog),
    deadlines: [...backlog.leases].map(({ deadlineAt }) => deadlineAt),
    waitingFrom: waitingFrom(backlog),
    heldUntil: heldUntil(backlog, store.health.load(), row.settings),
    dead: new Map(
      dead.map(({ offset, reason, whole, parks }) => [
        offset,
        { reason, hasRecord: whole === 1, parks: parks === 1 },
      ]),
    ),
    gapCount: store.gaps.list().reduce((sum, { count }) => sum + count, 0),
    paused: row.settings.paused,
    settings: row.settings,
    version: row.version,
    parent: row.parent,
    leasedCount: backlog.leasedCount,
    waitingCount: backlog.waitingCount,
  };
}

function inHandOf(backlog: Backlog): Map<number, InHand> {
  const inHand = new Map<number, InHand>();
  for (const [offset, delivery] of backlog.deliveries) {
    const common = { key: delivery.orderingKey, attempts: delivery.attempts };
    if (delivery.state === "leased") {
      const deadlineAt = backlog.leases.of(offset)?.deadlineAt ?? Number.NaN;
      inHand.set(offset, { ...common, state: "leased", leaseId: delivery.leaseId, deadlineAt });
    } else if (delivery.state === "waiting") {
      const { availableAt, lastLeaseId } = delivery;
      inHand.set(offset, { ...common, state: "waiting", availableAt, lastLeaseId });
    } else inHand.set(offset, { ...common, state: "dying" });
  }
  return inHand;
}

function lanesOf(backlog: Backlog): Record<string, number> {
  const held = [...backlog.lanes.values()].filter(({ followers }) => followers > 0);
  return Object.fromEntries(
    held.sort((a, b) => (a.key < b.key ? -1 : 1)).map((lane) => [lane.key, lane.followers]),
  );
}

function heldUntil(
  backlog: Backlog,
  health: Health | undefined,
  { ackDeadlineMs, push }: SubscriptionSettings,
): number {
  if (health === undefined && push?.rate === undefined) return 0;
  const quiet = [...backlog.leases].map(
    ({ deadlineAt }) => deadlineAt - ackDeadlineMs + limits.quietDispatchMs,
  );
  return Math.max(0, health?.state === "open" ? health.until : 0, ...quiet);
}

/** When the first delivery that waits may be handed out, of those whose lane is free. */
function waitingFrom(backlog: Backlog): number | undefined {
  const dues: number[] = [];
  for (const [offset, delivery] of backlog.deliveries) {
    if (delivery.state !== "waiting") continue;
    const lane = delivery.orderingKey === undefined ? undefined : backlog.lanes.get(delivery.orderingKey);
    if (!lane || (!isHeld(lane) && lane.waiting[0] === offset)) dues.push(delivery.availableAt);
  }
  for (const lane of backlog.lanes.values()) {
    if (!isHeld(lane) && lane.waiting.length === 0 && lane.followers > 0) dues.push(0);
  }
  return dues.length === 0 ? undefined : Math.min(...dues);
}

/** What memory and storage differ in; undefined when they say the same. */
export function differenceOf(memory: Backlog, stored: Backlog): string | undefined {
  const [one, other] = [memory, stored].map((backlog) =>
    JSON.stringify({
      counters: savedCounters(backlog),
      inHand: [...inHandOf(backlog)].sort(([a], [b]) => a - b),
      lanes: lanesOf(backlog),
      parked: [...backlog.lanes.values()]
        .map(({ key, parked }) => [key, [...parked].sort((a, b) => a - b)] as const)
        .filter(([, parked]) => parked.length > 0)
        .sort(([a], [b]) => (a < b ? -1 : 1)),
    }),
  );
  return one === other ? undefined : `memory has ${one}, storage ${other}`;
}

/** Progress past filtered messages is saved now and then: a restart judges them again. */
function savedCounters({ counters, unsaved: { count } }: Backlog): Counters {
  return { ...counters, nextOffset: counters.nextOffset - count, filtered: counters.filtered - count };
}

export function leasedBy({ inHand }: Picture, leaseId: string): number[] {
  return [...inHand].filter(([, held]) => isLeasedBy(held, leaseId)).map(([offset]) => offset);
}

export function isLeasedBy(held: InHand, leaseId: string): held is Extract<InHand, { state: "leased" }> {
  return held.state === "leased" && held.leaseId === leaseId;
}

export function holds(held: InHand | undefined, leaseId: string): boolean {
  if (held?.state === "leased") return held.leaseId === leaseId;
  return held?.state === "waiting" && held.lastLeaseId === leaseId;
}

/** Who was dead, or dying and then buried, and is so no more. */
export function leftTheDead(before: Picture, after: Picture): number[] {
  const dying = [...before.inHand].filter(([, { state }]) => state === "dying").map(([offset]) => offset);
  const isOut = (offset: number) => !after.dead.has(offset) && after.inHand.get(offset)?.state !== "dying";
  return [...before.dead.keys(), ...dying].filter(isOut);
}
