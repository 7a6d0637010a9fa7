// The claims that one dispatch holds in the ledger, for effectively-once (docs/delivery-contract.md, clause 14).
// What becomes of each is noted at once and written together, by flush(), before the dispatch reports it.

import type { DispatchCall } from "../dispatch-calls";
import { type ClaimAnswer, pushClaimId, pushClaimText, pushNamespace } from "../ledger/claim";
import type { ClaimRef, HeldClaim, LedgerStore } from "../ledger/ledger-store";
import { limits } from "../limits";
import type { DispatchOutcome } from "../report-calls";
import type { Runtime } from "../runtime";
import type { Item } from "./dispatch-plan";
import type { Claims } from "./hand-over";

type Handed = HeldClaim & Readonly<{ offset: number; leaseMs: number }>;
/** What its receiver ended before the subscription knew that it has it. */
export type EndedEarly = Readonly<{ offset: number; fence: number; state: "completed" | "failed" }>;
type Ending = "complete" | "failAll" | "release";

const ENDINGS = { delivered: "complete", failed: "failAll", unsent: "release" } as const;

export class ClaimsStore {
  private readonly namespace: string;
  /** Long enough for a request, so that nobody else claims while one is under way. */
  private readonly neededMs: number;
  private readonly held = new Map<number, HeldClaim>();
  private handed: Handed[] = [];
  private endedEarly: EndedEarly[] = [];
  private noted: { ending: Ending; ref: ClaimRef }[] = [];
  private extending: Promise<void> | undefined;

  constructor(
    private readonly ledger: LedgerStore,
    private readonly call: DispatchCall,
    private readonly runtime: Runtime,
  ) {
    this.namespace = pushNamespace(call.generation, call.partition, call.replay);
    this.neededMs = (call.settings.push?.timeoutMs ?? limits.maxTimeoutMs) + limits.claimMarginMs;
  }

  /**
   * Claims every item in one call, under the lease's id: a dispatch of the same lease gets the same claims. They are
   * remembered for `retentionMs`.
   */
  async claim(items: readonly Item[], retentionMs: number): Promise<readonly ClaimAnswer[]> {
    const messages = items.map(({ offset, message }) => ({
      messageId: pushClaimId({ offset, messageId: message.id }),
    }));
    const { leaseId } = this.call.lease;
    const { namespace, leaseMs } = this;
    const answers = await this.ledger.claim({ namespace, messages, claimant: leaseId, leaseMs, retentionMs });
    items.forEach((item, index) => {
      const answer = answers[index];
      if (answer?.state === "claimed") this.held.set(item.offset, answer);
    });
    return answers;
  }

  /**
   * Sees that the items' claims outlive one more request, extending every held claim when one would not. Answers
   * whether all of them are still ours.
   */
  async hold(items: readonly Item[]): Promise<boolean> {
    const neededUntil = this.runtime.now() + this.neededMs;
    const isShort = ({ offset }: Item) => (this.held.get(offset)?.leaseUntil ?? 0) < neededUntil;
    if (items.some(isShort)) {
      this.extending ??= this.extendAll().finally(() => {
        this.extending = undefined;
      });
      await this.extending;
    }
    return !items.some(isShort);
  }

  /** The claims of the items, for their request to carry. */
  claimsOf(items: readonly Item[]): Claims {
    const { partition, replay } = this.call;
    const held = items.flatMap(({ offset }) => {
      const fence = this.held.get(offset)?.fence;
      if (fence === undefined) return [];
      return [[offset, { claim: pushClaimText({ partition, offset, replay, fence }), fence }] as const];
    });
    return new Map(held);
  }

  /** From now on the items are their receiver's to complete: they are neither extended nor ended here. */
  handOver(items: readonly Item[], leaseMs: number): void {
    for (const { offset } of items) {
      const held = this.held.get(offset);
      if (held === undefined) continue;
      this.held.delete(offset);
      this.handed.push({ ...held, offset, leaseMs });
    }
  }

  /**
   * Keeps for their receivers the claims of those of `offsets` that were handed over. Only once the subscription knows
   * it: what was ended before that is answered here, and what is ended after it, the subscription is told.
   */
  async keepHandedOver(offsets: ReadonlySet<number>): Promise<readonly EndedEarly[]> {
    const known = this.handed.filter(({ offset }) => offsets.has(offset));
    for (const [leaseMs, items] of Map.groupBy(known, ({ leaseMs }) => leaseMs)) {
      const states = await this.ledger.handOver({
        namespace: this.namespace,
        leaseMs,
        items: items.map((each) => ({ ...refOf(each), leaseUntil: each.leaseUntil })),
      });
      this.handed = this.handed.filter((handed) => !items.includes(handed));
      items.forEach(({ offset, fence }, index) => {
        const state = states[index];
        if (state === "completed" || state === "failed") this.endedEarly.push({ offset, fence, state });
      });
    }
    return this.endedEarly.splice(0);
  }

  /** Notes that items were processed. */
  complete(items: readonly Item[]): void {
    for (const { offset } of items) this.end(offset, "complete");
  }

  /** Notes what has become of deliveries: a failed one may be claimed again at once, an unsent one too. */
  note(outcomes: readonly DispatchOutcome[]): void {
    for (const { offset, result } of outcomes) {
      if (result !== "handed-over") this.end(offset, ENDINGS[result]);
    }
  }

  /** Writes what was noted. What could not be written stays noted, and the fault is thrown. */
  async flush(): Promise<void> {
    for (const ending of ["complete", "failAll", "release"] as const) {
      const notes = this.noted.filter((note) => note.ending === ending);
      if (notes.length === 0) continue;
      await this.ledger[ending]({ namespace: this.namespace, items: notes.map(({ ref }) => ref) });
      this.noted = this.noted.filter((note) => !notes.includes(note));
    }
  }

  /** Beyond one request, so that a dispatch of quick requests never extends. */
  private get leaseMs(): number {
    return this.neededMs + limits.claimMarginMs;
  }

  private end(offset: number, ending: Ending): void {
    const held = this.held.get(offset);
    if (held === undefined) return;
    this.held.delete(offset);
    this.noted.push({ ending, ref: refOf(held) });
  }

  private async extendAll(): Promise<void> {
    const { namespace, leaseMs } = this;
    const entries = [...this.held];
    const ends = await this.ledger.extendAll({ namespace, leaseMs, items: entries.map(([, ref]) => ref) });
    entries.forEach(([offset, ref], index) => {
      const leaseUntil = ends[index];
      if (!this.held.has(offset)) return;
      if (typeof leaseUntil === "number") this.held.set(offset, { ...ref, leaseUntil });
      else this.held.delete(offset);
    });
  }
}

function refOf({ messageId, fence }: ClaimRef): ClaimRef {
  return { messageId, fence };
}
