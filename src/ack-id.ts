// An ack id names one leased delivery to whoever holds it: `{partition}.{offset}.{lease id}`. It is fenced by its lease.

export type AckId = Readonly<{ ackId: string; partition: number; offset: number; leaseId: string }>;

const UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";
export const ACK_ID = new RegExp(`^(0|[1-9]\\d{0,2})\\.(0|[1-9]\\d{0,15})\\.(${UUID})$`);

export function ackIdText({ partition, offset, leaseId }: Omit<AckId, "ackId">): string {
  return `${partition}.${offset}.${leaseId}`;
}

/** The parts of an ack id; undefined when the text is none. */
export function parseAckId(text: string): AckId | undefined {
  const parts = ACK_ID.exec(text);
  if (!parts) return undefined;
  const [, partition, offset, leaseId = ""] = parts;
  return { ackId: text, partition: Number(partition), offset: Number(offset), leaseId };
}
