// How an object is found: by the generation and the partition that it holds.

/** The object of one partition of one generation of a topic or subscription. */
export function objectName(generation: string, partition: number): string {
  return `${generation}:${partition}`;
}
