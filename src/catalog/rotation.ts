// The sweep's round of all objects: which of them come next, and where the round then stands.

/** The next object of the round. An empty generation is the beginning of its noun. */
export type Place = Readonly<{ noun: "topic" | "subscription"; generation: string; partition: number }>;

type Lived = Readonly<{ generation: string; partitions: number }>;
export type Poke = Readonly<{ noun: Place["noun"]; generation: string; partition: number }>;

export const roundStart: Place = { noun: "topic", generation: "", partition: 0 };

/**
 * Cuts up to `limit` objects from `lives`, the page of active lives from `place` on. `next` is where the round
 * goes on; past the last life it is the beginning of the other noun.
 */
export function cutPage(
  place: Place,
  lives: readonly Lived[],
  limit: number,
): { pokes: readonly Poke[]; next: Place } {
  const pokes: Poke[] = [];
  for (const { generation, partitions } of lives) {
    const first = generation === place.generation ? place.partition : 0;
    for (let partition = first; partition < partitions; partition++) {
      if (pokes.length === limit) return { pokes, next: { noun: place.noun, generation, partition } };
      pokes.push({ noun: place.noun, generation, partition });
    }
  }
  const noun = place.noun === "topic" ? "subscription" : "topic";
  return { pokes, next: { noun, generation: "", partition: 0 } };
}
