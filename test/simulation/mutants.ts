// Deliberate bugs, each an exact snippet of the source and what it becomes. The simulation must find every one: it
// shows that it has teeth. A snippet that is not in its file exactly once is an error: then move the mutant along.

import type { Feature } from "./plan";

export type Edit = Readonly<{ file: string; find: string; put: string }>;
export type Mutant = Readonly<{
  name: string;
  edits: readonly Edit[];
  /** What the worlds have in which it is hunted: none of it unless it is said. */
  features?: readonly Feature[];
}>;

export const MUTANTS: readonly Mutant[] = [
  {
    name: "settle by id, without a fence",
    edits: [
      {
        file: "src/subscription/delivery.ts",
        find: `if (delivery?.state === "leased") return delivery.leaseId === leaseId;`,
        put: `if (delivery?.state === "leased") return true;`,
      },
    ],
  },
  {
    name: "a late ack that nobody overtook is refused",
    edits: [
      {
        file: "src/subscription/delivery.ts",
        find: `return delivery?.state === "waiting" && delivery.lastLeaseId === leaseId;`,
        put: `return false;`,
      },
    ],
  },
  {
    name: "acked before it is processed",
    edits: [
      {
        file: "src/push/sending.ts",
        find: `  const answer = await sendAuthorized(deps, endpoint, endpoint.tokens, parcel, claims?.claimsOf(parcel));
  if ("unsent" in answer) {`,
        put: `  void sendAuthorized(deps, endpoint, endpoint.tokens, parcel);
  const answer = { delivered: true, status: 200, at: 0, latencyMs: 0, failures: new Map<string, string>() } as Exclude<Awaited<ReturnType<typeof sendAuthorized>>, { unsent: true }>;
  if ("unsent" in answer) {`,
      },
    ],
  },
  {
    name: "insert-first claim, which is never leased",
    edits: [
      {
        file: "src/ledger/ledger-statements.ts",
        find: `AND (processed_messages.state <> 'claimed' OR processed_messages.lease_until <= ?3)`,
        put: `AND processed_messages.state <> 'claimed'`,
      },
    ],
  },
  {
    name: "sent without a look at what the ledger has as completed",
    edits: [
      {
        file: "src/ledger/claim.ts",
        find: `if (row.state === "completed") return { messageId, state: "completed", result: row.result };`,
        put: `if (row.state === "completed") return { messageId, state: "claimed", fence, leaseUntil: 1e15, attempts };`,
      },
    ],
  },
  {
    name: "arm forgotten",
    edits: [
      {
        file: "src/subscription/subscription-memory.ts",
        find: `      if (this.held === state) this.arm(state);`,
        put: ``,
      },
    ],
  },
  {
    name: "cursor saved before the lease is",
    edits: [
      {
        file: "src/subscription/lease-desk.ts",
        find: `      const lease = this.cut(wanted);`,
        put: `      const { counters } = backlog;
      const { nextOffset } = counters;
      this.parts.change(() => {
        counters.nextOffset = this.parts.buffer.end;
        backlog.changes.state = true;
      });
      await reader.askHead();
      counters.nextOffset = nextOffset;
      const lease = this.cut(wanted);`,
      },
    ],
  },
  {
    name: "two pulls with an await between look and cut",
    edits: [
      {
        file: "src/subscription/lease-desk.ts",
        find: `      const lease = this.cut(wanted);`,
        put: `      const { nextOffset } = backlog.counters;
      if (ask) await reader.askHead();
      backlog.counters.nextOffset = nextOffset;
      const lease = this.cut(wanted);`,
      },
    ],
  },
  {
    name: "a repeated pull leases anew",
    edits: [
      {
        file: "src/subscription/lease-desk.ts",
        find: `      if (leasedBy(backlog, wanted.leaseId).length > 0) return this.leaseAgain(wanted.leaseId);
      // Of a call that comes again when its lease has ended, nobody reads the answer: other deliveries would reach nobody.
      if (this.handedOut.has(wanted.leaseId)) break;`,
        put: ``,
      },
    ],
  },
  {
    name: "a lane that waits for its retry is not held",
    edits: [
      {
        file: "src/subscription/lane.ts",
        find: `return isHeld(lane) || lane.waiting.length > 0 || lane.followers > 0;`,
        put: `return isHeld(lane) || lane.followers > 0;`,
      },
    ],
  },
  {
    name: "a parked lane goes on",
    edits: [
      {
        file: "src/subscription/lane.ts",
        find: `return lane.leased > 0 || lane.dying > 0 || lane.parked.size > 0;`,
        put: `return lane.leased > 0 || lane.dying > 0;`,
      },
    ],
  },
  {
    name: "what stands behind a failure in its lane stays leased",
    features: ["lanes"],
    edits: [
      {
        file: "src/subscription/settling.ts",
        find: `if (delivery.orderingKey === undefined) return;`,
        put: `if (delivery.orderingKey !== "none") return;`,
      },
    ],
  },
  {
    name: "a redelivered record batch is stored again",
    edits: [
      {
        file: "src/topic/topic-log.ts",
        find: `      if (answered.has(batch.batchId)) continue;`,
        put: ``,
      },
      {
        file: "src/topic/topic-log.ts",
        find: `      this.store.keys.insertAnswer(keys, answer);`,
        put: `      const isNew = this.store.keys.batchAnswers(keys, [answer.batchId]).length === 0;
      if (isNew) this.store.keys.insertAnswer(keys, answer);`,
      },
    ],
  },
  {
    name: "a client's id is not looked up",
    edits: [
      {
        file: "src/topic/topic-log.ts",
        find: `if (ids.length === 0) return new Map();`,
        put: `if (ids.length < 4) return new Map();`,
      },
      {
        file: "src/topic/topic-log.ts",
        find: `this.store.keys.insertIds(keys, newIds);`,
        put: `const isNew = ({ id }: SeenId) => this.store.keys.seenIds(keys, [id]).length === 0;
      this.store.keys.insertIds(keys, newIds.filter(isNew));`,
      },
    ],
  },
  {
    name: "a report is not fenced",
    edits: [
      {
        file: "src/subscription/settling.ts",
        find: `if (delivery?.state !== "leased" || delivery.leaseId !== leaseId) return;`,
        put: `if (delivery?.state !== "leased") return;`,
      },
    ],
  },
  {
    name: "a notify is treated as done though it failed",
    edits: [
      {
        file: "src/topic/notifier.ts",
        find: `        const told = await subscription.notify({ head: this.log.head, runs });`,
        put: `        const { head } = this.log;
        reader.informedTo = head;
        reader.isConfirmed = true;
        const told = await subscription.notify({ head, runs });`,
      },
    ],
  },
  {
    name: "a notify under way counts as one that arrived",
    edits: [
      {
        file: "src/topic/fanout.ts",
        find: `reader.informedTo < head || (doubts`,
        put: `(reader.informedTo < head && !reader.notifying) || (doubts`,
      },
    ],
  },
  {
    name: "after a restart nobody is doubted",
    edits: [
      {
        file: "src/topic/topic-memory.ts",
        find: `this.arm({ notBefore, doubts: true });`,
        put: `this.arm({ notBefore });`,
      },
    ],
  },
  {
    name: "a dead letter is buried without its message",
    edits: [
      {
        file: "src/subscription/lease-desk.ts",
        find: `bury(backlog, dying, buffer.get(offset)?.record.slice(), parks`,
        put: `bury(backlog, dying, undefined, parks`,
      },
    ],
  },
  {
    name: "an attempt is counted for what was given back",
    edits: [
      {
        file: "src/subscription/delivery.ts",
        find: `return { ...common(leased), state: "waiting", availableAt, lastLeaseId: leased.leaseId };`,
        put: `return { ...common(leased), attempts: leased.attempts + 1, state: "waiting", availableAt, lastLeaseId: leased.leaseId };`,
      },
    ],
  },
  {
    name: "followers are forgotten by a restart",
    edits: [
      {
        file: "src/subscription/subscription-store.ts",
        find: `    this.lanes.save(backlog.lanes, changes.lanes);`,
        put: ``,
      },
    ],
  },
  {
    name: "a redrive is not written down",
    edits: [
      {
        file: "src/subscription/subscription-store.ts",
        find: `this.deadLetters.take(epoch, changes.unburied);`,
        put: `this.deadLetters.take(epoch, []);`,
      },
    ],
  },
  {
    name: "acked in the Cloudflare Queue before it is stored",
    edits: [
      {
        file: "src/ingress/ingress-consumer.ts",
        find: `  if (!answers.ok) return answers.error;
  let refused`,
        put: `  for (const { batchId } of batches) fates.set(batchId, { safe: "stored" });
  if (!answers.ok) return undefined;
  let refused`,
      },
    ],
  },
  {
    name: "acked in the dead-letter Cloudflare Queue before D1 confirmed",
    edits: [
      {
        file: "src/ingress/ingress-consumer.ts",
        find: `  if (strandings.length === 0) return;`,
        put: `  for (const { id } of strandings) fates.set(id, { safe: "stranded" });`,
      },
    ],
  },
  {
    name: "a seek leaves what waited where it was",
    edits: [
      {
        file: "src/subscription/subscription-store.ts",
        find: `for (const table of ["waiting", "lanes"]) emptyTable(this.sql, table);`,
        put: `for (const table of ["lanes"]) emptyTable(this.sql, table);`,
      },
    ],
  },
  {
    name: "silence counts for all that were leased together",
    edits: [
      {
        file: "src/subscription/overdue.ts",
        find: `else if (together > 1) suspectAll(`,
        put: `else if (together > 1_000) suspectAll(`,
      },
    ],
  },
  {
    name: "what fell silent together comes back together",
    edits: [
      {
        file: "src/subscription/delivery.ts",
        find: `Math.max(1, Math.floor(together / 2));`,
        put: `together;`,
      },
    ],
  },
  {
    name: "what comes while a dispatch is under way has no alarm",
    edits: [
      {
        file: "src/subscription/due.ts",
        find: `if (isWaitedFor && (isReady || isUnread)) dues.push(now + row.settings.ackDeadlineMs);`,
        put: ``,
      },
    ],
  },
  {
    name: "the sweep wakes nobody",
    edits: [
      {
        file: "src/subscription/wake-desk.ts",
        find: `      state.reader.doubt();
      this.memory.saveFiltered(state);
      this.memory.arm(state);
      this.memory.goOn(state);
      return ok(null);`,
        put: `      return state ? ok(null) : this.memory.gone();`,
      },
    ],
  },
];
