// What a subscription remembers of one consumer's socket, beside the socket itself: it survives hibernation with it.
// How much may be sent is a matter of credit, which only the consumer grants, and of whether it is heard.

import { limits } from "../limits";

export type SocketState = Readonly<{
  /** The first twelve digits of its leases' ids: so they are known again, whatever memory is lost. */
  tag: string;
  /** How many messages it may still be sent. */
  credit: number;
  /** Sent since its consumer last said something. */
  unheardBytes: number;
  ackDeadlineMs?: number;
  /** When it is to be opened anew, in epoch milliseconds. */
  until: number;
}>;

const TAG_LENGTH = 12;
/** Of a UUIDv7, with its dash (RFC 9562, section 5.7). */
const TIME_LENGTH = 13;

/** The state of a new socket; `id` is a fresh UUID. */
export function openSocket(
  id: string,
  {
    credit,
    ackDeadlineMs,
    now,
  }: Readonly<{ credit: number; ackDeadlineMs?: number | undefined; now: number }>,
): SocketState {
  return {
    ...{ tag: id.slice(-TAG_LENGTH), credit, unheardBytes: 0, until: now + limits.socketMs },
    ...(ackDeadlineMs !== undefined && { ackDeadlineMs }),
  };
}

/** How many messages may be sent to it in the next frame; 0 for none. */
export function roomOf({ credit, unheardBytes }: SocketState): number {
  return unheardBytes >= limits.socketUnheardBytes ? 0 : Math.min(credit, limits.socketFrameMessages);
}

export function sent(state: SocketState, messages: number, bytes: number): SocketState {
  const credit = Math.max(0, state.credit - messages);
  return { ...state, credit, unheardBytes: state.unheardBytes + bytes };
}

/** Its consumer said something, and granted `credit` with it. */
export function heard(state: SocketState, credit = 0): SocketState {
  return { ...state, credit: Math.min(state.credit + credit, limits.socketCredit), unheardBytes: 0 };
}

/**
 * A lease id that is known to be the socket's: the fresh UUIDv7 `id`, with the tag where it tells the time. The rest of it
 * differs from that of any other id, also of one that was made in the same millisecond.
 */
export function leaseIdOf({ tag }: SocketState, id: string): string {
  return `${tag.slice(0, 8)}-${tag.slice(8)}${id.slice(TIME_LENGTH)}`;
}

export function isLeaseOf({ tag }: SocketState, leaseId: string): boolean {
  return leaseId.slice(0, TIME_LENGTH) === `${tag.slice(0, 8)}-${tag.slice(8)}`;
}
