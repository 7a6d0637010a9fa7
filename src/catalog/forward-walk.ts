// The search for a loop among topics that forward: from the target of a new forward along all forwards that exist, level by
// level. Bounded, so it may miss a long one; the hops that a message carries end that. Pure.

import { limits } from "../limits";

/** Topics that were met, and those of them whose forwards were not looked at yet. */
export type Walk = Readonly<{ met: ReadonlySet<string>; edge: readonly string[] }>;

/** A walk that stands at `topic`. */
export function walkFrom(topic: string): Walk {
  return { met: new Set([topic]), edge: [topic] };
}

/** The walk a level on: `targets` are where the topics of its edge forward to. */
export function walkOn({ met }: Walk, targets: Iterable<string>): Walk {
  const edge = [...new Set(targets)].filter((topic) => !met.has(topic));
  const room = limits.forwardWalkTopics - met.size;
  const next = edge.slice(0, Math.max(0, room));
  return { met: new Set([...met, ...next]), edge: next };
}

/** Whether there is more to look at. */
export function mayGoOn({ edge }: Walk): boolean {
  return edge.length > 0;
}
