// Who reads a partition: its subscriptions are told to it when they are made, which fixes where each starts, and when they
// are deleted. Whoever is attached is notified (notifier.ts), and holds what it has not settled (retention-desk.ts).

import { ok, type Result } from "../errors";
import type { AttachAnswer, AttachCall, Wanted } from "../topic-calls";
import { startOffset } from "./log-reads";
import type { MatchDesk } from "./match-desk";
import type { Notifier } from "./notifier";
import type { SegmentedLog } from "./segmented-log";
import type { TopicStore } from "./topic-store";

export type ReaderParts = Readonly<{
  store: TopicStore;
  stored: SegmentedLog;
  notifier: Notifier;
  partition: number;
  lineage: Readonly<{ parentPartition: number | undefined }>;
  matches: MatchDesk;
}>;

export class ReaderDesk {
  constructor(private readonly parts: ReaderParts) {}

  /** Attaches a subscription, by its generation. A repeat gets the first answer. */
  attach({ generation, startAt, subscription: name, wanted }: AttachCall): Result<AttachAnswer> {
    const { store, stored, notifier, partition, lineage, matches } = this.parts;
    const parent = lineage.parentPartition === undefined ? {} : { parent: lineage.parentPartition };
    const known = notifier.readers.get(generation);
    if (known) return ok({ startOffset: known.startOffset, ...parent });
    const start = startOffset(stored, startAt, partition);
    if (!start.ok) return start;
    store.insertSubscription(generation, start.value, { name, wanted });
    matches.forget();
    notifier.add(generation, start.value, start.value);
    return ok({ startOffset: start.value, ...parent });
  }

  /** Forgets a subscription. One that is unknown is forgotten already. */
  detach(generation: string): void {
    const { store, notifier, matches } = this.parts;
    if (notifier.readers.delete(generation)) store.deleteSubscription(generation);
    matches.forget();
  }

  /** Takes in what readers want by now. */
  describe(readers: readonly (Wanted & Readonly<{ generation: string }>)[]): void {
    for (const { generation, ...wanted } of readers) this.parts.store.describe(generation, wanted);
    this.parts.matches.forget();
  }
}
