// What happens in a run of chaos, as those it happened to wrote it down: one event per line of a journal.

import type { PartitionStats } from "../support/contract-client.ts";

/** Microseconds of a clock that all processes of this machine share and that never goes back. */
type Instant = number;

/** A message, and the place it was given. Without an ordering key, `key` is null. */
type Message = Readonly<{ id: string; key: string | null; partition: number; offset: number }>;
type Delivery = Message & Readonly<{ subscription: string }>;

/** A publish was answered: this message is stored. `n` rises with what one producer sends. */
export type Stored = Message &
  Readonly<{ type: "stored"; at: Instant; producer: string; n: number; duplicate: boolean }>;
/** A publish got no answer, or was not answered for each of its messages. It is sent again. */
export type Unanswered = Readonly<{ type: "unanswered"; at: Instant; producer: string }>;
/** A consumer was handed a message, which it asked for at `askedAt`; `intact` when it is what was published. */
export type Delivered = Delivery &
  Readonly<{ type: "delivered"; at: Instant; askedAt: Instant; attempt: number; intact: boolean }>;
/** The work that a message asks for was done. */
export type Effect = Delivery & Readonly<{ type: "effect"; at: Instant }>;
/** The broker answered `acked`. */
export type Acked = Delivery & Readonly<{ type: "acked"; at: Instant }>;
/** What a consumer of the ledger notes for itself: it is about to claim, and it has completed. */
export type LedgerNote = Readonly<{ type: "begun" | "finished"; at: Instant; id: string }>;
export type Killed = Readonly<{ type: "killed"; at: Instant; whom: string }>;

/** What the broker said when all was quiet. */
export type Dead = Readonly<{ type: "dead"; at: Instant; subscription: string; id: string }>;
export type Counted = Counters & Readonly<{ type: "counted"; at: Instant; subscription: string }>;

export type Counters = Omit<PartitionStats, "formerDead" | "epoch" | "replay" | "gaps">;

export type ChaosEvent =
  | Stored
  | Unanswered
  | Delivered
  | Effect
  | Acked
  | LedgerNote
  | Killed
  | Dead
  | Counted;

/** The events of one sort, in their order. */
export function eventsOf<T extends ChaosEvent["type"]>(history: readonly ChaosEvent[], type: T) {
  return history.filter((event): event is Extract<ChaosEvent, { type: T }> => event.type === type);
}
