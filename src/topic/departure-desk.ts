// Delayed messages whose keys leave with a raise: they go along, to wait where their keys are now. So a key's messages take
// their offsets in one log, whenever they are due. It is done before the raise is: whoever stops it half way goes on.

import { asOwn, ok, type Result, refuse } from "../errors";
import { limits } from "../limits";
import { partitionOf, type RecordBatch, unpackRecord } from "../record-batch";
import type { BatchAnswer, TopicCalls } from "../topic-calls";
import type { Delayed } from "./delayed";
import type { Delays } from "./delays";
import type { LineageDesk } from "./lineage-desk";

export type DepartureParts = Readonly<{
  generation: string;
  partition: number;
  delays: Delays;
  lineage: LineageDesk;
  topicAt(partition: number): TopicCalls;
  write<T>(decide: () => T): T;
  /** False once the topic was removed or read afresh. */
  isLive(): boolean;
}>;

export class DepartureDesk {
  private under: Promise<Result<null>> | undefined;

  constructor(private readonly parts: DepartureParts) {}

  /** Hands over what departs, if anything does. Refused when it cannot be taken now; callers share one hand-over. */
  async handOver(): Promise<Result<null>> {
    this.under ??= this.handOverAll().finally(() => {
      this.under = undefined;
    });
    return this.under;
  }

  private async handOverAll(): Promise<Result<null>> {
    const { delays, lineage, isLive } = this.parts;
    while (lineage.departing !== undefined) {
      const partitions = lineage.departing;
      for (let page = delays.all(null); page.length > 0; page = delays.all(page.at(-1) ?? null)) {
        for (const [home, leaving] of Map.groupBy(page, (delayed) => this.homeOf(delayed, partitions))) {
          if (home === this.parts.partition) continue;
          const taken = await this.send(home, partitions, leaving);
          if (!taken.ok || !isLive()) return taken.ok ? away() : taken;
        }
      }
      lineage.departed(partitions);
    }
    return ok(null);
  }

  /** Where a delayed message goes by its ordering key, else by its client's id. One with neither stays. */
  private homeOf({ record, id, fingerprint }: Delayed, partitions: number): number {
    const { orderingKey } = unpackRecord(record, { start: 0, end: record.byteLength });
    const key = orderingKey ?? (fingerprint === "" ? undefined : id);
    return key === undefined ? this.parts.partition : partitionOf(key, partitions);
  }

  /** Taken there and only then given up here. Sent again, the other partition knows the record batches. */
  private async send(home: number, partitions: number, leaving: readonly Delayed[]): Promise<Result<null>> {
    const { delays, topicAt, write, isLive } = this.parts;
    const batches = leaving.map((delayed) => this.batchOf(delayed, home, partitions));
    const answers = asOwn(await topicAt(home).adopt({ batches }).catch(away));
    if (!answers.ok) return answers;
    const refused = answers.value.flatMap(errorsOf)[0];
    if (refused) return { ok: false, error: refused };
    if (isLive()) write(() => delays.removeAll(leaving));
    return ok(null);
  }

  private batchOf({ id, deliverAt, number, fingerprint, record }: Delayed, home: number, partitions: number) {
    const { generation, partition } = this.parts;
    const batch: RecordBatch = {
      ...{ batchId: `delayed:${partition}:${number}`, generation, partition: home, partitions, count: 1 },
      clientIds: fingerprint === "" ? [] : [{ index: 0, id, fingerprint }],
      scheduled: [{ index: 0, id, deliverAt }],
      records: record,
    };
    return batch;
  }
}

function errorsOf({ exceptions }: BatchAnswer) {
  return exceptions.flatMap((exception) => ("error" in exception ? [exception.error] : []));
}

function away(): Result<never> {
  return refuse("unavailable", "Delayed messages could not be handed to their new partition; try again.", {
    retryAfterMs: limits.catalogRetryMs,
  });
}
