// How an object is found: by the generation and the partition, or the request, that it holds.

/** The object of one partition of one generation of a topic or subscription. */
export function objectName(generation: string, partition: number): string {
  return `${generation}:${partition}`;
}

/** The object of the replies to one request: by the generation of its topic and its message id. */
export function replyName({ generation, id }: Readonly<{ generation: string; id: string }>): string {
  return `${generation}:${id}`;
}
