// When a subscription must look again by itself: the instant its alarm is armed for.

import { limits } from "../limits";
import type { Backlog } from "./backlog";
import type { LeaseDesk } from "./lease-desk";
import type { LogReader } from "./log-reader";
import type { ParentDesk } from "./parent-desk";
import type { PushPump } from "./push-pump";
import type { SocketPump } from "./socket-pump";
import type { SubscriptionRow } from "./subscription-store";
import type { VerifyDesk } from "./verify-desk";

/** What may be due. */
export type Timed = Readonly<{
  backlog: Backlog;
  desk: Pick<LeaseDesk, "hasMore">;
  reader: Pick<LogReader, "isBehind">;
  parents: Pick<ParentDesk, "isAwaiting">;
  pump: Pick<PushPump, "isActive" | "hasRoom" | "heldUntil" | "gathersUntil">;
  live: Pick<SocketPump, "isActive">;
  verifier: Pick<VerifyDesk, "dueAt">;
  row: Pick<SubscriptionRow, "settings">;
}>;

/** The first instant, in epoch milliseconds, at which something is due; undefined when nothing ever is. */
export function dueAt(
  { backlog, desk, pump, live, verifier, reader, parents, row }: Timed,
  now: number,
): number | undefined {
  const dues = [...backlog.leases].map(({ deadlineAt }) => deadlineAt);
  const next = backlog.ready.peek();
  const heldUntil = pump.isActive ? pump.heldUntil() : undefined;
  if (next && next.at > now) dues.push(Math.max(next.at, heldUntil ?? 0));
  const isReady = reader.isBehind || (next !== undefined && next.at <= now);
  // What its endpoint keeps waiting lies in memory, or in the log.
  const isUnread = backlog.knownHead > backlog.counters.nextOffset;
  if (heldUntil !== undefined && (isReady || isUnread)) dues.push(heldUntil);
  const isListening = live.isActive;
  const isSending = (pump.isActive && pump.hasRoom) || isListening;
  if (isSending && isReady) dues.push(now + limits.lookAgainMs);
  // A dispatch that is waited for ends with the memory that waits; under at-most-once no lease outlives that.
  const isWaitedFor = pump.isActive && !pump.hasRoom && heldUntil === undefined;
  if (isWaitedFor && (isReady || isUnread)) dues.push(now + row.settings.ackDeadlineMs);
  // Between two rounds of filtered messages others have their turn.
  if (isSending && desk.hasMore) dues.push(now);
  if (pump.isActive) dues.push(pump.gathersUntil() ?? Number.POSITIVE_INFINITY);
  if ((pump.isActive || isListening) && parents.isAwaiting) dues.push(now + backlog.gate.waitMs(now));
  dues.push(verifier.dueAt() ?? Number.POSITIVE_INFINITY);
  if (backlog.dying.size > 0) dues.push(now + limits.lookAgainMs);
  const due = dues.reduce((least, at) => Math.min(least, at), Number.POSITIVE_INFINITY);
  return due === Number.POSITIVE_INFINITY ? undefined : due;
}
