// The ledger in D1 (`processed_messages`): one statement claims up to 100 messages, and every settle is a
// compare-and-set on the fence. Its table is in migrations/ledger, its SQL in ledger-statements.ts.

import { ok, type Result, refuse } from "../errors";
import { limits } from "../limits";
import type { Runtime } from "../runtime";
import { type Claim, type ClaimAnswer, type ClaimState, claimAnswer } from "./claim";
import { CLAIM, COMPLETE, EXTEND, FAIL, HAND_OVER, READ, RELEASE, SWEEP } from "./ledger-statements";

export type ClaimCall = Readonly<{
  namespace: string;
  messages: readonly Readonly<{ messageId: string; fingerprint?: string }>[];
  /** Who claims. Repeating a call as the same claimant returns the same claims. */
  claimant: string;
  leaseMs: number;
  /** How long it is remembered from now on, at least as long as it is leased; else `limits.ledgerRetentionMs`. */
  retentionMs?: number | undefined;
}>;

export type ClaimRef = Readonly<{ messageId: string; fence: number }>;
export type HeldClaim = ClaimRef & Readonly<{ leaseUntil: number }>;
export type Completion = ClaimRef & Readonly<{ result?: string }>;

type Row = {
  message_id: string;
  state: ClaimState;
  fence: number;
  claimant: string;
  lease_until: number;
  fingerprint: string | null;
  result: string | null;
  attempts: number;
  expires_at: number;
};

export class LedgerStore {
  constructor(
    private readonly d1: D1Database,
    private readonly runtime: Runtime,
  ) {}

  /**
   * Claims each message that is free: never claimed, failed, released, or with its lease ended. Answers in the
   * order asked. Claim and read-back are one D1 batch, which is one transaction: what is answered is what holds.
   */
  async claim(call: ClaimCall): Promise<readonly ClaimAnswer[]> {
    bounded(call.messages.length);
    const now = this.runtime.now();
    const items = JSON.stringify(call.messages);
    const retentionMs = Math.max(call.retentionMs ?? limits.ledgerRetentionMs, call.leaseMs);
    const claim = this.d1
      .prepare(CLAIM)
      .bind(call.namespace, items, now, call.claimant, now + call.leaseMs, now + retentionMs);
    const rows = await this.writeAndRead(claim, call.namespace, items);
    return call.messages.map((asked, index) => {
      const row = rows[index];
      if (row?.messageId !== asked.messageId) throw new Error("the ledger did not read back what it claimed");
      return claimAnswer(row, { ...asked, claimant: call.claimant });
    });
  }

  /** One message as it stands, whoever has claimed it; undefined when it was never claimed, or is forgotten. */
  async read(namespace: string, messageId: string): Promise<Claim | undefined> {
    const read = this.d1.prepare(READ).bind(namespace, JSON.stringify([{ messageId }]));
    const { results } = await read.all<Row>();
    return results.map(toClaim)[0];
  }

  /** Moves the end of one claim's lease; `claim-lost` when it was overtaken or has ended otherwise. */
  async extend(
    call: Readonly<{ namespace: string; leaseMs: number } & ClaimRef>,
  ): Promise<Result<{ leaseUntil: number }>> {
    const { namespace, leaseMs, messageId, fence } = call;
    const [leaseUntil] = await this.extendAll({ namespace, leaseMs, items: [{ messageId, fence }] });
    return typeof leaseUntil === "number" ? ok({ leaseUntil }) : claimLost();
  }

  /** Moves the end of every claim's lease. Answers, item by item, the new end or `claim-lost`. */
  async extendAll(
    call: Readonly<{ namespace: string; leaseMs: number; items: readonly ClaimRef[] }>,
  ): Promise<readonly (number | "claim-lost")[]> {
    const leaseUntil = this.runtime.now() + call.leaseMs;
    const held = await this.settle(EXTEND, call.namespace, call.items, "claimed", leaseUntil);
    return held.map((isHeld) => (isHeld ? leaseUntil : "claim-lost"));
  }

  /**
   * Leaves claims for `leaseMs` to whoever works on them now. Each item has the lease's end as its holder knows it.
   * Answers how each stands: it may have been completed or failed before. `claim-lost` when it was overtaken.
   */
  async handOver(
    call: Readonly<{ namespace: string; leaseMs: number; items: readonly HeldClaim[] }>,
  ): Promise<readonly (ClaimState | "claim-lost")[]> {
    const leaseUntil = this.runtime.now() + call.leaseMs;
    const rows = await this.change(HAND_OVER, call.namespace, call.items, leaseUntil);
    return rows.map((row) => row?.state ?? "claim-lost");
  }

  /** Completes claims for ever, each with the result it answers from now on. A repeat is completed too. */
  async complete(
    call: Readonly<{ namespace: string; items: readonly Completion[] }>,
  ): Promise<readonly ("completed" | "claim-lost")[]> {
    const held = await this.settle(COMPLETE, call.namespace, call.items, "completed");
    return held.map((isHeld) => (isHeld ? "completed" : "claim-lost"));
  }

  /** Ends one attempt without success: the message may be claimed again at once. A repeat is accepted. */
  async fail(call: Readonly<{ namespace: string } & ClaimRef>): Promise<Result<null>> {
    const { namespace, messageId, fence } = call;
    const [held] = await this.failAll({ namespace, items: [{ messageId, fence }] });
    return held === "failed" ? ok(null) : claimLost();
  }

  /** Ends attempts without success, item by item. */
  async failAll(
    call: Readonly<{ namespace: string; items: readonly ClaimRef[] }>,
  ): Promise<readonly ("failed" | "claim-lost")[]> {
    const held = await this.settle(FAIL, call.namespace, call.items, "failed");
    return held.map((isHeld) => (isHeld ? "failed" : "claim-lost"));
  }

  /** Gives claims back unused: no attempt is counted. */
  async release(
    call: Readonly<{ namespace: string; items: readonly ClaimRef[] }>,
  ): Promise<readonly ("released" | "claim-lost")[]> {
    const held = await this.settle(RELEASE, call.namespace, call.items, "released");
    return held.map((isHeld) => (isHeld ? "released" : "claim-lost"));
  }

  /** Forgets up to `maxRows` messages whose time is over. Answers how many: fewer than asked means none is left. */
  async sweep(maxRows: number): Promise<number> {
    const swept = await this.d1.prepare(SWEEP).bind(this.runtime.now(), maxRows).run();
    return swept.meta.changes;
  }

  /** Runs one settle, and answers for each item whether it now stands in `state` under the item's fence. */
  private async settle(
    sql: string,
    namespace: string,
    items: readonly ClaimRef[],
    state: ClaimState,
    leaseUntil?: number,
  ): Promise<readonly boolean[]> {
    const rows = await this.change(sql, namespace, items, leaseUntil);
    return rows.map((row) => row?.state === state);
  }

  /** Runs one settle, and answers each item's row as it now stands, if it is under the item's fence. */
  private async change(
    sql: string,
    namespace: string,
    items: readonly ClaimRef[],
    leaseUntil?: number,
  ): Promise<readonly (Claim | undefined)[]> {
    bounded(items.length);
    if (items.length === 0) return [];
    const json = JSON.stringify(items);
    const values = leaseUntil === undefined ? [namespace, json] : [namespace, json, leaseUntil];
    const rows = await this.writeAndRead(this.d1.prepare(sql).bind(...values), namespace, json);
    const byId = new Map(rows.map((row) => [row.messageId, row]));
    return items.map(({ messageId, fence }) => {
      const row = byId.get(messageId);
      return row?.fence === fence ? row : undefined;
    });
  }

  /** One D1 batch: a write, and what then stands. */
  private async writeAndRead(write: D1PreparedStatement, namespace: string, items: string): Promise<Claim[]> {
    const read = this.d1.prepare(READ).bind(namespace, items);
    const [, found] = await this.d1.batch<Row>([write, read]);
    return (found?.results ?? []).map(toClaim);
  }
}

function toClaim(row: Row): Claim {
  return {
    messageId: row.message_id,
    state: row.state,
    fence: row.fence,
    claimant: row.claimant,
    leaseUntil: row.lease_until,
    fingerprint: row.fingerprint,
    result: row.result,
    attempts: row.attempts,
    retainUntil: row.expires_at,
  };
}

function claimLost(): Result<never> {
  return refuse(
    "claim-lost",
    "Another claimant has taken this message since, or the claim has already ended.",
  );
}

/** A D1 statement takes 2 MB and 30 s: a caller that asks for more in one call is a bug. */
function bounded(count: number): void {
  if (count > limits.claimsPerCall) throw new RangeError(`at most ${limits.claimsPerCall} claims in a call`);
}
