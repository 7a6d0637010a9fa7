// What a message of chaos says: enough for whoever gets it to see that it is what was published.

export type Body = Readonly<{ id: string; key: string | null; n: number }>;

const PADDING = "·".repeat(100);

/** The message's body. */
export function bodyOf(body: Body): Body & { padding: string } {
  return { id: body.id, key: body.key, n: body.n, padding: PADDING };
}

/** Whether `text` is the body of the message with this id and key, to the last byte. */
export function isIntact(text: string, { id, key }: Pick<Body, "id" | "key">): boolean {
  const n = Number(id.slice(id.lastIndexOf("-") + 1));
  return text === JSON.stringify(bodyOf({ id, key, n }));
}
