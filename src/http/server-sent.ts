// Server-sent events as they stand in a response (HTML standard, section 9.2).

export type ServerSent = Readonly<{ event: string; id?: string; data: unknown }>;

/** A comment: it says that the connection lives, and nobody is told. */
export const HEARTBEAT = ":\n\n";

/** How soon a reader comes back, in milliseconds. */
export function retryAfter(ms: number): string {
  return `retry: ${ms}\n\n`;
}

/** JSON has no line ends of its own, so the data is one line. */
export function serverSent({ event, id, data }: ServerSent): string {
  return `event: ${event}\n${id === undefined ? "" : `id: ${id}\n`}data: ${JSON.stringify(data)}\n\n`;
}
