// The sweep's part in recurring publishes: what is due is published, longest due first, and moves on once its topic
// has answered. Swept twice, at once, or after a crash in between, a run is stored once: it always has the same
// record batch id and message id.

import { ok, type Result, refuse } from "../errors";
import { fingerprintBytes } from "../fingerprint";
import { limits } from "../limits";
import type { Message } from "../message";
import { toBase64 } from "../message-json";
import { objectName } from "../object-name";
import { packRecords, partitionOf, type RecordBatch } from "../record-batch";
import type { BatchAnswer } from "../topic-calls";
import { appendInParts } from "./append-store";
import { type Catalog, inParallel, reach } from "./entry-lifecycle";
import { failRun, loseTopic, runOf, type Schedule, type Settled, settleRun } from "./schedule";
import { type DueSchedule, ScheduleStore } from "./schedule-store";

/** Runs that were stored, and runs that were not: refused, of a topic that is gone, or to be tried again. */
export type Fired = { stored: number; unstored: number };

/** Publishes what is due, at most limits.sweepRuns of it. Throws a CatalogFault while D1 is away. */
export async function fireSchedules(catalog: Catalog): Promise<Fired> {
  const store = new ScheduleStore(catalog.env.CATALOG);
  // One instant for the whole step: what fails goes to the line's end, behind it, and waits for the next sweep.
  const now = catalog.runtime.now();
  const fired: Fired = { stored: 0, unstored: 0 };
  for (let left = limits.sweepRuns; left > 0; left -= limits.runsAtOnce) {
    const due = await store.due(now, Math.min(left, limits.runsAtOnce));
    const runs: { schedule: Schedule; settled: Settled }[] = [];
    await inParallel(due, async ({ schedule, partitions }) => {
      const settled = await fire(catalog, { schedule, partitions }, now);
      const isStored = settled.lastOutcome?.status === "stored";
      fired[isStored ? "stored" : "unstored"] += 1;
      runs.push({ schedule, settled });
    });
    await store.settle(runs);
    if (due.length < limits.runsAtOnce) break;
  }
  return fired;
}

async function fire(catalog: Catalog, { schedule, partitions }: DueSchedule, now: number): Promise<Settled> {
  try {
    const run = runOf(schedule, now);
    if (partitions === null) return loseTopic(schedule, run, now);
    const batch = await batchOf(run.message, schedule.topicGeneration, partitions);
    const [part] = await appendInParts(batch, (part) => append(catalog, part));
    if (!part) throw new Error("the topic gave no answer");
    return settleRun(schedule, run, { partition: part.batch.partition, answered: part.answered, now });
  } catch (fault) {
    if (catalog.env.LOG !== "off") {
      console.error(JSON.stringify({ at: "schedule", name: schedule.name, fault: String(fault) }));
    }
    return failRun(schedule, { runAt: schedule.nextRunAt }, "internal", now);
  }
}

/** A record batch of one message. By its id the topic knows the run again, and by the message's everybody else. */
async function batchOf(message: Message, generation: string, partitions: number): Promise<RecordBatch> {
  const { id, orderingKey } = message;
  const digest = await crypto.subtle.digest("SHA-256", fingerprintBytes(message));
  const fingerprint = toBase64(new Uint8Array(digest));
  return {
    batchId: id,
    generation,
    partition: partitionOf(orderingKey ?? id, partitions),
    partitions,
    count: 1,
    clientIds: [{ index: 0, id, fingerprint }],
    records: packRecords([message]),
  };
}

async function append(catalog: Catalog, batch: RecordBatch): Promise<Result<BatchAnswer>> {
  const name = objectName(batch.generation, batch.partition);
  const answers = await reach(catalog, name, () =>
    catalog.env.TOPIC.getByName(name).append({ batches: [batch] }),
  );
  if (!answers.ok) return answers;
  const [answer] = answers.value;
  return answer ? ok(answer) : refuse("internal", "The topic gave no answer.");
}
