// A leased message as a consumer sees it, whether it pulls or listens on a socket.

import { ackIdText } from "./ack-id";
import { type MessageJson, messageJson } from "./message-json";
import { unpackRecords } from "./record-batch";
import type { LeaseAnswer } from "./subscription-calls";

/** Under at-most-once there is nothing to settle, so no ack id and no deadline. */
export type PulledMessage = MessageJson &
  Readonly<{
    partition: number;
    offset: number;
    priority?: number;
    attempt: number;
    ackId?: string;
    deadlineAt?: number;
    /** Of a request: what its reply names. Only who was handed it learns that. */
    replyTo?: string;
  }>;

/** The messages of a lease, in its order, with the priority of their partition if its topic has priorities. */
export function showLease(
  partition: number,
  { leaseId, deadlineAt, settled, deliveries, records }: LeaseAnswer,
  priority: Readonly<{ priority?: number }> = {},
): readonly PulledMessage[] {
  const messages = unpackRecords(records);
  return deliveries.map(({ offset, attempt }, index) => {
    const message = messages[index];
    if (!message) throw new Error("a lease came without its records");
    return {
      ...messageJson(message),
      partition,
      offset,
      ...priority,
      attempt,
      ...(message.replyTo !== undefined && { replyTo: message.replyTo }),
      ...(!settled && { ackId: ackIdText({ partition, offset, leaseId }), deadlineAt }),
    };
  });
}
