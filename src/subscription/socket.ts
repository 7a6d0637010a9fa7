// What a subscription remembers of one consumer's socket, beside the socket itself: it survives hibernation with it.
// How much may be sent is a matter of credit, which only the consumer grants, and of whether it is heard.

import type { Admission } from "../admission-calls";
import { limits } from "../limits";
import type { SocketAsk } from "../socket-calls";

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
  /** By what its consumer was let in, and when that is to be looked at again. Absent: it is not. */
  admission?: Admission;
  checkAt?: number;
}>;

/** An open socket. */
export type Socket = Readonly<{
  state(): SocketState;
  keep(state: SocketState): void;
  send(frame: object): void;
  close(code: number, reason: string): void;
  isOpen(): boolean;
}>;

const TAG_LENGTH = 12;
/** Of a UUIDv7, with its dash (RFC 9562, section 5.7). */
const TIME_LENGTH = 13;

/** The state of a new socket; `id` is a fresh UUID. */
export function openSocket(
  id: string,
  { credit, ackDeadlineMs, admission }: SocketAsk,
  now: number,
): SocketState {
  return {
    ...{ tag: id.slice(-TAG_LENGTH), credit, unheardBytes: 0, until: now + limits.socketMs },
    ...(ackDeadlineMs !== undefined && { ackDeadlineMs }),
    ...(admission && { admission, checkAt: now + limits.socketCheckMs }),
  };
}

/** When it ends at the latest, as far as is known. */
export function endOf({ until, admission }: SocketState): number {
  return Math.min(until, admission?.until ?? until);
}

/** Whether its consumer may be heard and sent something. */
export function standingOf(
  { admission, checkAt = 0 }: SocketState,
  now: number,
): "admitted" | "unchecked" | "barred" {
  if (!admission) return "admitted";
  if (admission.until !== undefined && admission.until <= now) return "barred";
  return checkAt <= now ? "unchecked" : "admitted";
}

/** Its consumer was looked at: `admission` is how it stands. */
export function checked(state: SocketState, admission: Admission, now: number): SocketState {
  return { ...state, admission, checkAt: now + limits.socketCheckMs };
}

/** Its consumer would not be let in any more. */
export function barred(state: SocketState): SocketState {
  return state.admission ? { ...state, admission: { ...state.admission, until: 0 } } : state;
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
