// One forward, from the lease to its last report: a dispatch that leads to another topic of this broker. Its messages are
// appended as record batches, partition beside partition and each in order, and settle once they are stored there.
//
// What the target as a whole does not take now (full, away) goes back un-attempted and is tried again when the target
// is, like an endpoint that asks for a pause. What it will never take is a dead letter at once.

import { appendInParts } from "../catalog/append-store";
import type { TopicEntry } from "../catalog/catalog-entry";
import { inParallel } from "../catalog/entry-lifecycle";
import type { DispatchCall } from "../dispatch-calls";
import { noteRequest } from "../endpoint-signs";
import type { BrokerError, Result } from "../errors";
import { fingerprintBytes } from "../fingerprint";
import { limits } from "../limits";
import { toBase64 } from "../message-json";
import { paced } from "../pace";
import { layoutOf } from "../priority";
import type { RecordBatch } from "../record-batch";
import type { DispatchOutcome } from "../report-calls";
import { validatorOf } from "../schema/schema-validator";
import type { BatchAnswer } from "../topic-calls";
import type { Item } from "./dispatch-plan";
import * as plans from "./dispatch-plan";
import { advance, beginCourse, type Carrying, type Course, giveBack } from "./dispatch-run";
import {
  batchOf,
  batchSource,
  isKnownById,
  linesOf,
  type Parcel,
  refusedThere,
  type Target,
  type Unfit,
  unfit,
} from "./forwarding";
import { reportLast, reportWhile } from "./reporting";

/** What a forward needs of the world. */
export type Forwarding = Carrying &
  Readonly<{
    /** The target as the catalog has it: `gone` when that life of it has ended, another refusal when nobody can tell. */
    target(): Promise<Result<TopicEntry>>;
    append(batch: RecordBatch): Promise<Result<BatchAnswer>>;
    digest(bytes: Uint8Array): Promise<Uint8Array>;
    /** The target was deleted. */
    targetGone(): void;
  }>;

type Run = Course & { readonly deps: Forwarding };

const STORED = 201;
const TOO_MANY = 429;
const AWAY = 503;
/** Refusals that say nothing of the messages: they pass. */
const PASSING: ReadonlySet<string> = new Set([
  "topic-full",
  "unavailable",
  "overloaded",
  "too-many-requests",
]);
const utf8 = new TextEncoder();

/** Carries a lease to the target topic and reports how it fared. Of a call that arrived twice the second does nothing. */
export async function forward(call: DispatchCall, deps: Forwarding): Promise<void> {
  if (!(await deps.begin())) return;
  const run: Run = beginCourse(call, deps);
  try {
    await reportWhile(run, appendAll(run));
  } finally {
    giveBack(run, run.plan.pending, 0, run.stopped ?? "the dispatch ran out of time");
    await reportLast(run);
    const { topic, subscription, partition, settings, lease } = call;
    deps.log({
      ...{ event: "forward", topic, subscription, partition, to: settings.forward?.topic },
      ...{ leaseId: lease.leaseId, count: lease.deliveries.length },
      ...{ delivered: run.counts.delivered, failed: run.counts.failed, unsent: run.counts.unsent },
      ms: deps.runtime.now() - run.startedAt,
      ...(run.stopped !== undefined && { stopped: run.stopped }),
    });
  }
}

async function appendAll(run: Run): Promise<void> {
  const found = await run.deps.target();
  if (!found.ok) return found.error.code === "gone" ? loseTarget(run) : holdBack(run, found.error);
  setAside(run, found.value);
  // Its priority was that of a place in its own topic: there it has the default.
  const target = { generation: found.value.generation, partitions: layoutOf(found.value).each };
  const { lease, settings } = run.call;
  const how = { lease: lease.leaseId, guarantee: settings.guarantee };
  await inParallel(linesOf(run.plan.pending, target, how), (line) => appendLine(run, target, line));
}

/** What cannot be forwarded dies; what it takes too long to look at is looked at next time. */
function setAside(run: Run, { generation, version, settings: { schema } }: TopicEntry): void {
  const validator = schema && validatorOf(`${generation} ${version}`, schema);
  let steps = limits.schemaSteps;
  let left = new Set(run.plan.pending);
  for (const item of run.plan.pending) {
    const work = { left: limits.schemaSteps };
    if (!left.has(item)) continue;
    if (steps <= 0) giveBack(run, [item], 0, "the target's schema takes its time");
    const why = steps <= 0 ? undefined : unfit(item.message, validator, work);
    steps -= limits.schemaSteps - work.left;
    if (why) settle(run, [item], () => dead(run, item, why));
    // What is behind it in its lane went with it.
    if (steps <= 0 || why) left = new Set(run.plan.pending);
  }
}

/** One parcel after another, and none after one that the partition did not take: nothing overtakes within a key. */
async function appendLine(run: Run, target: Target, line: readonly Parcel[]): Promise<void> {
  for (const [place, { partition, items }] of line.entries()) {
    if (!mayGoOn(run)) return;
    const left = new Set(run.plan.pending);
    const parcel = { partition, items: items.filter((item) => left.has(item)) };
    if (parcel.items.length === 0) continue;
    const refusal = await appendParcel(run, target, parcel);
    if (!refusal) continue;
    const rest = line.slice(place + 1).flatMap((later) => later.items);
    const still = new Set(run.plan.pending);
    return giveBack(
      run,
      rest.filter((item) => still.has(item)),
      retryMs(refusal),
      refusal.detail,
    );
  }
}

function mayGoOn({ stopped, deps, startedAt, leaseEndsAt }: Run): boolean {
  const now = deps.runtime.now();
  return stopped === undefined && now < startedAt + limits.dispatchMs && now < leaseEndsAt;
}

/** Appends a parcel and notes what became of each message. Answers why the partition takes no more, if it does not. */
async function appendParcel(run: Run, target: Target, parcel: Parcel): Promise<BrokerError | undefined> {
  const { items } = parcel;
  const batch = await makeBatch(run, target, parcel);
  run.pace &&= paced(run.pace, run.deps.runtime.now());
  try {
    const parts = await appendInParts(batch, (part) => appendTrying(run, part));
    let refusal: BrokerError | undefined;
    for (const { indexes, answered } of parts) {
      const some = indexes.flatMap((index) => items[index] ?? []);
      if (answered.ok) noteStored(run, some, answered.value);
      else refusal ??= noteRefused(run, some, answered.error);
    }
    return refusal;
  } catch (fault) {
    return noteFault(run, items, String(fault));
  }
}

async function makeBatch(run: Run, target: Target, parcel: Parcel): Promise<RecordBatch> {
  const { deps, call } = run;
  const { generation, partition, settings } = call;
  const digest = await deps.digest(utf8.encode(batchSource(call, target, parcel)));
  const fingerprints = new Map<number, string>();
  for (const [index, { message }] of parcel.items.entries()) {
    if (!isKnownById(message, settings.guarantee)) continue;
    fingerprints.set(index, toBase64(await deps.digest(fingerprintBytes(message))));
  }
  return batchOf(`forward:${generation}:${partition}:${toBase64(digest)}`, target, parcel, fingerprints);
}

/** A fault on the way is tried again under the same batch id: what was stored is not stored twice. */
async function appendTrying({ deps }: Run, batch: RecordBatch): Promise<Result<BatchAnswer>> {
  for (let tries = 1; ; tries++) {
    try {
      return await deps.append(batch);
    } catch (fault) {
      if (tries === limits.appendTries) throw fault;
      await deps.sleep(deps.runtime.random() * limits.appendRetryMs * tries);
    }
  }
}

// ── what became of it ────────────────────────────────────────────────────────────────────────────────

/** Stored, or there already under its id. What the topic refused of single messages dies. */
function noteStored(run: Run, items: readonly Item[], { exceptions }: BatchAnswer): void {
  const refused = new Map(exceptions.flatMap((each) => ("error" in each ? [[each.index, each.error]] : [])));
  const places = new Map(items.map((item, index) => [item, index]));
  noteCall(run, items, { delivered: true, status: STORED });
  settle(run, items, (item) => {
    const error = refused.get(places.get(item) ?? -1);
    if (error) return dead(run, item, refusedThere(error.detail));
    return { offset: item.offset, result: "delivered", status: STORED };
  });
}

/** The target takes nothing of it. What says nothing of the messages costs them no attempt. */
function noteRefused(run: Run, items: readonly Item[], error: BrokerError): BrokerError {
  if (error.code === "gone") loseTarget(run);
  else if (PASSING.has(error.code)) holdBack(run, error, items);
  else noteFault(run, items, error.detail);
  return error;
}

function noteFault(run: Run, items: readonly Item[], error: string): BrokerError {
  const note = { at: run.deps.runtime.now(), error };
  noteCall(run, items, { delivered: false, error });
  settle(run, items, ({ offset }) => ({ offset, result: "failed", note }));
  return { code: "internal", detail: error };
}

function settle(run: Run, items: readonly Item[], judge: (item: Item) => DispatchOutcome): void {
  advance(run, plans.settleItems(plans.takeThese(run.plan, items), items, judge));
}

function dead({ deps }: Run, { offset }: Item, { reason, status, detail }: Unfit): DispatchOutcome {
  const note = { at: deps.runtime.now(), status, error: detail.slice(0, limits.reasonLength) };
  return { offset, result: "failed", note, deadLetter: reason };
}

/** The target takes nothing now: what was bound for it goes back, and it is asked again after a while. */
function holdBack(run: Run, error: BrokerError, items: readonly Item[] = run.plan.pending): void {
  const status = error.code === "topic-full" ? TOO_MANY : AWAY;
  const retryAfterMs = retryMs(error);
  noteCall(run, items, { delivered: false, status, error: error.detail, retryAfterMs });
  giveBack(run, items, retryAfterMs, error.detail);
}

/** That life of the target has ended: nothing is sent until somebody says where to. */
function loseTarget(run: Run): void {
  run.stopped ??= "the target topic is gone";
  if (run.gone) return;
  run.gone = true;
  run.deps.targetGone();
}

function retryMs({ retryAfterMs }: BrokerError): number {
  return retryAfterMs ?? limits.catalogRetryMs;
}

/** What a call tells about the target, as a request tells about an endpoint. */
function noteCall(
  run: Run,
  [first]: readonly Item[],
  end: Readonly<{ delivered: boolean; status?: number; error?: string; retryAfterMs?: number }>,
): void {
  run.signs = noteRequest(run.signs, { offset: first?.offset ?? 0, ...end }, run.deps.runtime.now());
}
