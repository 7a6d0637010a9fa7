// Deliberate bugs of what is forwarded from topic to topic, and of priorities. Each is a mutant like those of mutants.ts.

import { of, one } from "./area-mutants";
import type { Mutant } from "./mutants";

const KNOWN = 'return guarantee === "effectively-once" || !BROKER_ID.test(id);';

export const ROUTING_MUTANTS: readonly Mutant[] = [
  ...of(
    ["forwards"],
    [
      one(
        "what a publisher named is not known by that at the target",
        "push/forwarding.ts",
        KNOWN,
        'return guarantee === "effectively-once" && BROKER_ID.test(id);',
      ),
      one(
        "an effectively-once forward lets the broker's ids be stored again",
        "push/forwarding.ts",
        KNOWN,
        'return guarantee === "at-most-once" || !BROKER_ID.test(id);',
      ),
      one(
        "a loop of forwards has no end",
        "push/forwarding.ts",
        "if (hops >= limits.forwardHops) {",
        "if (hops >= limits.forwardHops + 2) {",
      ),
      one(
        "a forward chooses the partition by the id",
        "push/forwarding.ts",
        "return partitionOf(orderingKey ?? known, partitions);",
        "return partitionOf(orderingKey === undefined ? known : id, partitions);",
      ),
      one(
        "a batch that is forwarded is named by its lease",
        "push/forward.ts",
        "deps.digest(utf8.encode(batchSource(call, target, parcel)))",
        "deps.digest(utf8.encode(batchSource(call, target, parcel) + call.lease.leaseId))",
      ),
      one(
        "what a full target refuses counts as stored there",
        "push/forward.ts",
        "else if (PASSING.has(error.code)) holdBack(run, error, items);",
        "else if (PASSING.has(error.code)) noteStored(run, items, { exceptions: [] } as unknown as BatchAnswer);",
      ),
      one(
        "what may have reached its target counts as stored there",
        "push/forward.ts",
        "return noteFault(run, items, String(fault));",
        'noteStored(run, items, { exceptions: [] } as unknown as BatchAnswer);\n    return { code: "internal", detail: String(fault) };',
      ),
    ],
  ),
  ...of(
    ["forwards", "rebirth"],
    [
      one(
        "a forward follows the name of its target into its next life",
        "push/target-store.ts",
        "if (known.ok && known.value.generation === generation) return known;",
        "if (known.ok && generation !== topic) return known;",
      ),
    ],
  ),
  ...of(
    ["priorities"],
    [
      one(
        "the lowest priority never has its turn",
        "http/pull-store.ts",
        "begun.value?.lowestFirst ? pull.levels.toReversed() : [];",
        "begun.value?.lowestFirst ? pull.levels : [];",
      ),
      one(
        "a pull begins with the lowest priority",
        "priority.ts",
        "sort(([, a], [, b]) => b - a);",
        "sort(([, a], [, b]) => a - b);",
      ),
      one(
        "turns come half as often",
        "subscription/priority-turns.ts",
        "this.count = (place + 1) % limits.pullsPerLowest;",
        "this.count = (place + 1) % (2 * limits.pullsPerLowest);",
      ),
      one(
        "what is published is stored without regard to its priority",
        "http/publish.ts",
        "partitionIn(layout, entry.priority ?? DEFAULT_PRIORITY, place) ?? place;",
        "partitionIn(layout, DEFAULT_PRIORITY, place) ?? place;",
      ),
      one(
        "while priorities are added the partitions of each are counted by the old number",
        "priority.ts",
        "const each = Math.max(partitions, raisingTo ?? 0) / priorities.length;",
        "const each = Math.max(1, Math.floor(Math.min(partitions, raisingTo ?? partitions) / priorities.length));",
      ),
    ],
  ),
  ...of(
    ["alternates", "filters"],
    [
      one(
        "the topic does not hear of another filter",
        "catalog/entry-lifecycle.ts",
        "configured ?? (isTopic(entry) ? undefined : await tellFilters(catalog, entry));",
        "configured ?? (isTopic(entry) || entry.version > 0 ? undefined : await tellFilters(catalog, entry));",
      ),
      one(
        "a topic goes on by the filters that it was told before",
        "topic/reader-desk.ts",
        "this.parts.store.describe(generation, wanted);\n    this.parts.matches.forget();",
        "this.parts.store.describe(generation, wanted);",
      ),
      one(
        "an alternate takes what others matched",
        "filter/matcher.ts",
        "if (unmatched && !candidate.isUnmatched) return false;",
        "",
      ),
    ],
  ),
  ...of(
    ["alternates", "filters", "rebirth"],
    [
      one(
        "a topic goes on by the filter of who was deleted",
        "topic/reader-desk.ts",
        "store.deleteSubscription(generation);\n    matches.forget();",
        "store.deleteSubscription(generation);",
      ),
    ],
  ),
  ...of(
    ["alternates", "filters", "forwards"],
    [
      one(
        "what nobody matched stays marked in its target",
        "push/forwarding.ts",
        "forwarded({ deliverAt: _, unmatched: __, hops = 0, ...message }: Message)",
        "forwarded({ deliverAt: _, hops = 0, ...message }: Message)",
      ),
    ],
  ),
];
