// A stranded record batch, addressed to another life of a topic. Only an operator may decide that.

import type { RecordBatch } from "../record-batch";

/**
 * The same batch, under the same id, for `generation`. It keeps its partition where there is one; else it takes
 * the remainder, which is where a client's id hashes to when the new number of partitions divides the old one.
 */
export function rebatch(
  { partitions: _, ...batch }: RecordBatch,
  { generation, partitions }: Readonly<{ generation: string; partitions: number }>,
): RecordBatch {
  return { ...batch, generation, partition: batch.partition % partitions };
}
