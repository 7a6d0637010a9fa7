// Carries accepted publishes from the Cloudflare Queue to their topics. A message is acked only when its record
// batch is on disk in the topic, or stranded in D1; every other way out is a retry, so nothing accepted is lost.

import { appendMoved } from "../catalog/append-store";
import { inParallel, reach } from "../catalog/entry-lifecycle";
import { FullStore } from "../catalog/full-store";
import { StrandedStore, type Stranding } from "../catalog/stranded-store";
import type { Env } from "../env";
import { type BrokerError, ok, refuse } from "../errors";
import { limits } from "../limits";
import { objectName } from "../object-name";
import { packRecordBatch, type RecordBatch } from "../record-batch";
import type { Runtime } from "../runtime";
import { bytesOf, type Consignment, consignments, openBody } from "./append-calls";
import { retryDelaySeconds } from "./backoff";

/** What becomes of a record batch: it is safe, or it waits for the next attempt. */
type Fate = Readonly<{ safe: "stored" | "stranded" } | { retryAfterMs: number }>;
type Parcel = Readonly<{ message: Message; batch: RecordBatch | undefined }>;
/** Fates by record batch id; a parcel without one is retried. */
type Fates = Map<string, Fate>;

/** Appends a batch of accepted publishes to their topics. Never throws: what fails is retried with backoff. */
export async function consumeIngress(batch: MessageBatch, env: Env, runtime: Runtime): Promise<void> {
  const parcels = open(batch);
  const fates: Fates = new Map();
  await guarded(batch, env, async () => {
    const strandings = parcels.filter(({ batch }) => !batch).map(unreadable);
    const readable = parcels.flatMap(({ batch }) => batch ?? []);
    await inParallel(consignments(readable), async (consignment) => {
      strandings.push(...(await carry(consignment, env, runtime, fates)));
    });
    await strand(strandings, env, runtime, fates);
  });
  settle(batch, parcels, fates, env, runtime);
}

/**
 * Strands what the Cloudflare Queue gave up on. Acks only what D1 confirmed: while D1 is away or the stranded
 * store is full, it waits in the dead-letter Cloudflare Queue. Never throws.
 */
export async function consumeIngressDead(batch: MessageBatch, env: Env, runtime: Runtime): Promise<void> {
  const parcels = open(batch);
  const fates: Fates = new Map();
  await guarded(batch, env, async () => {
    const strandings = parcels.map((parcel) =>
      parcel.batch ? stranding(parcel.batch, "undeliverable") : unreadable(parcel),
    );
    await strand(strandings, env, runtime, fates);
  });
  settle(batch, parcels, fates, env, runtime);
}

function open(batch: MessageBatch): readonly Parcel[] {
  return batch.messages.map((message) => ({ message, batch: openBody(message.body) }));
}

/** Appends one object's record batches, call by call. Answers those to strand because their topic is gone. */
async function carry(
  { object, calls }: Consignment,
  env: Env,
  runtime: Runtime,
  fates: Fates,
): Promise<Stranding[]> {
  let refused: BrokerError | undefined;
  const strandings: Stranding[] = [];
  for (const batches of calls) {
    // What refused one call would refuse the next: a topic that is full or overloaded is not asked again.
    refused ??= await append(object, batches, env, fates);
    if (refused?.code === "gone") strandings.push(...batches.map((batch) => stranding(batch, "gone")));
    else if (refused)
      for (const { batchId } of batches) fates.set(batchId, { retryAfterMs: refused.retryAfterMs ?? 0 });
  }
  const [full] = refused?.code === "topic-full" ? (calls[0] ?? []) : [];
  if (full) await noteFull(full, env, runtime);
  return strandings;
}

/** Has http refuse what would only wait here. If it cannot be noted now, the retry notes it. */
async function noteFull({ generation, partition }: RecordBatch, env: Env, runtime: Runtime): Promise<void> {
  await new FullStore(env.CATALOG, runtime).note(generation, partition).catch((fault: unknown) => {
    if (env.LOG !== "off") console.warn(JSON.stringify({ at: "ingress.noteFull", fault: String(fault) }));
  });
}

async function append(
  object: string,
  batches: readonly RecordBatch[],
  env: Env,
  fates: Fates,
): Promise<BrokerError | undefined> {
  const answers = await reach({ env }, object, () =>
    env.TOPIC.getByName(object).append({ batches, keepRejections: true }),
  );
  if (!answers.ok) return answers.error;
  let refused: BrokerError | undefined;
  for (const { batchId, movedTo } of answers.value) {
    const batch = batches.find((each) => each.batchId === batchId);
    const error = batch && movedTo !== undefined ? await appendElsewhere(batch, movedTo, env) : undefined;
    refused ??= error;
    if (!error) fates.set(batchId, { safe: "stored" });
    else if (error.code !== "gone") fates.set(batchId, { retryAfterMs: error.retryAfterMs ?? 0 });
  }
  return refused?.code === "gone" ? refused : undefined;
}

/** Appends what a raise has moved, part by part: stored only when every part is. Answers the first refusal. */
async function appendElsewhere(
  batch: RecordBatch,
  movedTo: number,
  env: Env,
): Promise<BrokerError | undefined> {
  const parts = await appendMoved(batch, movedTo, async (part) => {
    const object = objectName(part.generation, part.partition);
    const answers = await reach({ env }, object, () =>
      env.TOPIC.getByName(object).append({ batches: [part], keepRejections: true }),
    );
    if (!answers.ok) return answers;
    const [answer] = answers.value;
    return answer ? ok(answer) : refuse("internal", "The topic gave no answer.");
  });
  for (const { answered } of parts) if (!answered.ok) return answered.error;
  return undefined;
}

async function strand(
  strandings: readonly Stranding[],
  env: Env,
  runtime: Runtime,
  fates: Fates,
): Promise<void> {
  if (strandings.length === 0) return;
  const confirmed = await new StrandedStore(env.CATALOG, runtime).strand(strandings);
  for (const { id } of strandings) {
    fates.set(id, confirmed.has(id) ? { safe: "stranded" } : { retryAfterMs: limits.strandAgainMs });
  }
}

function settle(
  { queue }: MessageBatch,
  parcels: readonly Parcel[],
  fates: Fates,
  env: Env,
  runtime: Runtime,
): void {
  const counts = { stored: 0, stranded: 0, retried: 0 };
  for (const { message, batch } of parcels) {
    const fate = fates.get(batch?.batchId ?? message.id) ?? { retryAfterMs: 0 };
    if ("safe" in fate) {
      message.ack();
      counts[fate.safe] += 1;
    } else {
      const delaySeconds = retryDelaySeconds(message.attempts, runtime.random(), fate.retryAfterMs);
      message.retry({ delaySeconds });
      counts.retried += 1;
    }
  }
  if (env.LOG !== "off") console.log(JSON.stringify({ at: "ingress", queue, ...counts }));
}

/** Runs `work`; its fault is logged, and whatever has no fate by then is retried. */
async function guarded({ queue }: MessageBatch, env: Env, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (fault) {
    if (env.LOG !== "off") console.error(JSON.stringify({ at: "ingress", queue, fault: String(fault) }));
  }
}

function stranding(batch: RecordBatch, reason: "gone" | "undeliverable"): Stranding {
  const { batchId: id, generation, partition, count: messageCount } = batch;
  return { id, generation, partition, reason, messageCount, packed: packRecordBatch(batch) };
}

function unreadable({ message }: Parcel): Stranding {
  const packed = bytesOf(message.body);
  const nowhere = { generation: null, partition: null, messageCount: 0 };
  return { id: message.id, ...nowhere, reason: "unreadable", packed };
}
