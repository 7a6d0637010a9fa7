// Deliberate bugs of what only some worlds have: delays, retention, completion by the receiver, producers, raises, moves,
// lives that end, and settings that change. Each is a mutant like those of mutants.ts.

import type { Mutant } from "./mutants";
import type { Feature } from "./plan";

type Area = readonly Omit<Mutant, "features">[];

export function of(features: readonly Feature[], area: Area): readonly Mutant[] {
  return area.map((mutant) => ({ ...mutant, features }));
}

export function one(name: string, file: string, find: string, put: string): Mutant {
  return { name, edits: [{ file: `src/${file}`, find, put }] };
}

const TIME: Area = [
  one(
    "a delayed message is released before it is due",
    "topic/delays.ts",
    "this.store.sizes(null, now, limits.releasedAtOnce)",
    "this.store.sizes(null, now + 60_000, limits.releasedAtOnce)",
  ),
  one("a cancelled message is left in line", "topic/delay-desk.ts", "this.log.delays.remove(waiting);", ""),
  one(
    "the alarm is not set for what is delayed",
    "topic/topic-memory.ts",
    "const releaseAt = state.delays.nextDueAt ?? Number.POSITIVE_INFINITY;",
    "const releaseAt = Number.POSITIVE_INFINITY;",
  ),
  one(
    "a message that has expired is handed out",
    "subscription/time-to-live.ts",
    "return expiresAt !== undefined && expiresAt <= now;",
    "return expiresAt !== undefined && expiresAt <= now - 3_000;",
  ),
];

const RETENTION: Area = [
  one(
    "the log is removed before its subscriptions were told",
    "topic/retention-desk.ts",
    "const to = toldTo(this.all(), log.earliest, log.pastFrom(now - limits.expireWaitMs));",
    "const to = toldTo([], log.earliest, log.pastFrom(now - limits.expireWaitMs));",
  ),
  one(
    "what retention overtook leaves no gap record",
    "subscription/expiry.ts",
    "  noteGap(backlog.changes, { from, to: from + count, count });\n",
    "",
  ),
];

const HAND_OVER: Area = [
  one(
    "a 202 settles at once what its receiver has still to complete",
    "push/webhook.ts",
    "response.status !== 202 ||",
    "response.status !== 999 ||",
  ),
  {
    name: "a receiver that was overtaken completes",
    edits: [
      {
        file: "src/ledger/ledger-statements.ts",
        find: "AND row.fence = item.fence AND ",
        put: "AND ",
      },
      {
        file: "src/ledger/ledger-store.ts",
        find: "return row?.fence === fence ? row : undefined;",
        put: "return fence > 0 ? row : undefined;",
      },
    ],
  },
];

const PRODUCERS: Area = [
  one(
    "a gap in a producer's numbers is taken",
    "topic/producer.ts",
    "if (sequence > lastSequence + 1) {",
    "if (sequence > lastSequence + 100) {",
  ),
  one("how far a producer has come is not written down", "topic/topic-log.ts", "    marks.save(now);\n", ""),
];

const RAISES: Area = [
  one(
    "a partition that a raise made takes ids that it should have asked about",
    "topic/lineage-desk.ts",
    "if (!this.isParentAsked()) return ok([]);",
    "if (ids.length >= 0) return ok([]);",
  ),
  one(
    "since a raise a key does not wait for what it left behind",
    "subscription/lane-gate.ts",
    `return this.pending === "all" || this.pending.has(key);`,
    "return key === undefined;",
  ),
  one(
    "what was sought back to holds up nothing that left it in a raise",
    "subscription/parent-desk.ts",
    "const keys = new Set(above);",
    "const keys = new Set(above);\n    if (backlog.counters.epoch > 0) return [];",
  ),
  one(
    "since a raise a producer begins anew",
    "topic/producer-desk.ts",
    "if (this.parts.lineage.parentPartition === undefined) return ok(places);",
    "if (batches.length >= 0) return ok(places);",
  ),
];

const LETTERS: Area = [
  one(
    "dead letters are taken out whether the other topic took them or not",
    "http/letter-move-store.ts",
    "const left = sent.taken.map(",
    "const left = letters.map(",
  ),
  one(
    "a redrive at a rate goes all at once",
    "subscription/redriving.ts",
    "Math.round(from + everyMs * count++)",
    "Math.round(from)",
  ),
];

const LIVES: Area = [
  one(
    "the deletion of a subscription is not written down",
    "subscription/life-desk.ts",
    "if (!isBuried) store.transaction(() => store.bury());",
    "if (isBuried) store.transaction(() => store.bury());",
  ),
  one(
    "the deletion of a topic is not written down",
    "topic/topic-object.ts",
    "      this.store.bury();\n",
    "",
  ),
];

const SETTINGS: Area = [
  one(
    "older settings replace newer ones",
    "subscription/life-desk.ts",
    "if (call.version < version || isSame) return ok(null);",
    "if (isSame) return ok(null);",
  ),
  one(
    "new settings are taken only after a restart",
    "subscription/subscription-memory.ts",
    "state.row = { ...held, ...call };",
    "",
  ),
];

const FILTERS: Area = [
  one(
    "what stands in line is judged by the newest filter",
    "subscription/sieve.ts",
    "return this.versions.findLast(({ from }) => from <= offset);",
    "return offset < 0 ? undefined : this.versions.at(-1);",
  ),
  one(
    "another filter holds for what the one before has judged",
    "subscription/filtering.ts",
    "const from = { ...next, from: nextOffset };",
    "const from = { ...next, from: Math.max(startOffset, nextOffset - 1) };",
  ),
  one(
    "what a filter leaves out of a lane is handed out",
    "subscription/leasing.ts",
    `if (isLeftOut(this.backlog, offset, held)) return "left-out";`,
    'if (held.orderingKey === undefined && isLeftOut(this.backlog, offset, held)) return "left-out";',
  ),
];

const PACES: Area = [
  one(
    "what is under way counts no more than is given",
    "capacity/slots.ts",
    "return Math.max(given, underWay);",
    "return Math.min(given, underWay);",
  ),
  one(
    "a slot is free once it was given for so long",
    "capacity/slots.ts",
    "goneAt: until + asking.lastsMs,",
    "goneAt: until,",
  ),
  one(
    "what was given out is left for others",
    "capacity/pace-rounds.ts",
    "- sumOf(ready) - requests, given }",
    "- sumOf(ready), given }",
  ),
];

export const AREA_MUTANTS: readonly Mutant[] = [
  ...of(["delays", "ttl"], TIME),
  ...of(["retention"], RETENTION),
  ...of(["handOver"], HAND_OVER),
  ...of(["relays"], PRODUCERS),
  ...of(["raise", "relays"], RAISES),
  // A message that has expired is not moved.
  ...of(["moves", "ttl"], LETTERS),
  ...of(["rebirth"], LIVES),
  ...of(["settings"], SETTINGS),
  {
    name: "a dispatch whose call arrives twice is carried out twice",
    edits: [
      {
        file: "src/push/dispatch.ts",
        find: `if (!(await deps.begin())) return;`,
        put: `await deps.begin();`,
      },
    ],
  },
  ...of(["filters"], FILTERS),
  ...of(["paced"], PACES),
];
