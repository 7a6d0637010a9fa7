// A scene for crashes: the real backlog of a subscription, the real ledger, and dispatches that stop anywhere.
import { pushClaimId, pushNamespace } from "../../src/ledger/claim";
import type { Message } from "../../src/message";
import { joinBytes } from "../../src/record-batch";
import type { SubscriptionSettings } from "../../src/settings";
import { Backlog } from "../../src/subscription/backlog";
import { newCounters } from "../../src/subscription/counters";
import { cutLease } from "../../src/subscription/leasing";
import { expireLeases } from "../../src/subscription/overdue";
import { RecordBuffer } from "../../src/subscription/record-buffer";
import { ack, report } from "../../src/subscription/settling";
import { receiverLeaseId } from "../../src/subscription-calls";
import { type Asked, type Posted, World } from "./dispatch-world";
import { Isolate, type Stop } from "./isolate";

/** How the endpoint answers the n-th request that carries a message, from 1 on. */
export type Answers = (offset: number, nth: number) => number;
export type Scenario = Readonly<{
  name: string;
  messages: readonly Partial<Message>[];
  answers: Answers;
  push?: Asked["push"];
  /** When a receiver that answered 202 completes: within its request, once the dispatch is over, or never at first. */
  completes?: "within" | "after" | "late";
}>;

/** One message in one request. */
export type Send = Readonly<{
  offset: number;
  id: string;
  body: string;
  status: number;
  fence: number;
  /** The fence under which it was completed before it was sent; undefined when it was not. */
  completedUnder: number | undefined;
}>;

const settings = {
  guarantee: "effectively-once",
  retry: { maxAttempts: 20, minDelayMs: 0, maxDelayMs: 0 },
} as const;
/** Longer than a lease of the subscription, and less than a claim of the ledger. */
const LEASE_ENDS_MS = 61_000;
/** Longer than any claim of a dispatch, and than the hand-over of one. */
const CLAIM_ENDS_MS = 1_000_000;

export class CrashScene {
  readonly sends: Send[] = [];
  readonly world: World;
  readonly backlog: Backlog;
  private readonly buffer = new RecordBuffer(0, 1_000_000);
  private readonly whole: SubscriptionSettings;
  private leases = 0;

  constructor(readonly scenario: Scenario) {
    this.world = new World((posted) => this.answer(posted));
    this.backlog = new Backlog({
      ...{ knownHead: scenario.messages.length, counters: newCounters(0) },
      ...{ leases: [], deliveries: [], lanes: [], parked: [] },
    });
    const { settings: all } = this.world.callOf({ messages: [], settings, push: scenario.push ?? {} });
    this.whole = all;
    const { lease } = this.world.callOf({ messages: scenario.messages });
    this.buffer.append([{ firstOffset: 0, storedAt: this.world.now, records: lease.records }]);
    this.world.answerReport = (call) => {
      const held = report(this.backlog, call, this.whole, { now: this.world.now, jitter: () => 0.5 });
      const lost = { code: "lease-lost", detail: "The lease holds nothing any more." } as const;
      return held || call.done ? { ok: true, value: null } : { ok: false, error: lost };
    };
  }

  get isSettled(): boolean {
    return this.backlog.counters.settled === this.scenario.messages.length;
  }

  /** What was acknowledged with a 2xx that says done, by offset: how often. */
  get acknowledged(): ReadonlyMap<number, number> {
    const counts = new Map<number, number>();
    for (const { offset, status } of this.sends) {
      if (status === 200) counts.set(offset, (counts.get(offset) ?? 0) + 1);
    }
    return counts;
  }

  /** Leases what there is and begins to dispatch it; undefined when there is nothing. */
  start(stop?: Stop) {
    const call = this.lease();
    if (!call) return undefined;
    const isolate = new Isolate(stop ?? { call: 0, side: "before" });
    return { isolate, running: this.world.start(call, isolate) };
  }

  /** Runs one dispatch to its end or to where it stops. Answers its isolate; undefined when nothing was to be done. */
  async run(stop?: Stop): Promise<Isolate | undefined> {
    const started = this.start(stop);
    if (!started) return undefined;
    const { isolate, running } = started;
    await this.world.drive(() => running.ended || isolate.stoppedAt !== undefined);
    if (running.fault) throw running.fault;
    if (this.scenario.completes === "after") await this.completeAll();
    return isolate;
  }

  /** The leases end, and unless it is `soon` the claims with them; what then waits can be leased. */
  letLeasesEnd(soon = false): void {
    this.world.now += soon ? LEASE_ENDS_MS : CLAIM_ENDS_MS;
    expireLeases(this.backlog, this.whole, { now: this.world.now, jitter: () => 0.5 }, 1_000);
  }

  /** Dispatches afresh until everything is settled, a bounded number of times. */
  async recover(): Promise<void> {
    for (let round = 0; round < 20 && !this.isSettled; round++) {
      this.letLeasesEnd(round % 2 === 0);
      await this.run();
    }
  }

  /** The offsets that the ledger has as completed. */
  async completed(): Promise<ReadonlySet<number>> {
    const offsets = this.scenario.messages.map((_, offset) => offset);
    const fences = await Promise.all(offsets.map((offset) => this.completedUnder(offset)));
    return new Set(offsets.filter((offset) => fences[offset] !== undefined));
  }

  private lease() {
    const { now } = this.world;
    const [leaseId, deadlineAt] = [`lease-${++this.leases}`, now + this.whole.ackDeadlineMs];
    const cut = { leaseId, now, deadlineAt, max: 100, maxBytes: 1_000_000 };
    const { leased, records } = cutLease(this.backlog, this.buffer, cut);
    if (leased.length === 0) return undefined;
    const deliveries = leased.map(({ offset, attempts }) => ({ offset, attempt: attempts + 1 }));
    const call = this.world.callOf({ messages: [], settings: this.whole });
    return { ...call, lease: { leaseId, deadlineAt, deliveries, records: joinBytes(records) } };
  }

  private async answer({ headers, body, id }: Posted): Promise<Response> {
    const text = new TextDecoder().decode(body);
    const isBatch = this.whole.push !== undefined && this.whole.push.batchMaxMessages > 1;
    type InBatch = { id: string; offset: number; claimFence: number; data: string };
    const carried: InBatch[] = isBatch
      ? JSON.parse(text).messages
      : [
          {
            id,
            offset: Number(headers.get("pennypost-offset")),
            claimFence: Number(headers.get("pennypost-claim-fence")),
            data: text,
          },
        ];
    const failed: { id: string }[] = [];
    let status = 200;
    for (const { id, offset, claimFence: fence, data } of carried) {
      const nth = this.sends.filter((send) => send.offset === offset).length + 1;
      const asked = this.scenario.answers(offset, nth);
      const completedUnder = await this.completedUnder(offset);
      this.sends.push({ offset, id, body: data, status: asked, fence, completedUnder });
      if (isBatch && asked >= 300) failed.push({ id });
      else status = asked;
      if (asked === 202 && this.completesNow(nth)) await this.complete(offset, fence);
    }
    return isBatch ? Response.json({ failed }, { status }) : new Response(null, { status });
  }

  private completesNow(nth: number): boolean {
    return this.scenario.completes === "within" || (this.scenario.completes === "late" && nth > 1);
  }

  /** As the route does for a receiver: the ledger first, then the subscription. */
  private async complete(offset: number, fence: number): Promise<void> {
    const item = { messageId: pushClaimId({ offset, messageId: `m${offset}` }), fence };
    const [state] = await this.world.ledger().complete({ namespace: this.namespace, items: [item] });
    if (state === "completed") ack(this.backlog, [{ offset, leaseId: receiverLeaseId(fence) }]);
  }

  private async completeAll(): Promise<void> {
    for (const { offset, status, fence } of this.sends)
      if (status === 202) await this.complete(offset, fence);
  }

  private async completedUnder(offset: number): Promise<number | undefined> {
    const messageId = pushClaimId({ offset, messageId: `m${offset}` });
    const row = await this.world.peek(this.namespace, messageId);
    return row?.state === "completed" ? row.fence : undefined;
  }

  private get namespace(): string {
    return pushNamespace(this.world.generation, 0);
  }
}
