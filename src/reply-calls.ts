// The calls to the object of one request's replies: the asker opens it and waits on it, whoever was handed the request
// writes to it. Every call may arrive twice and changes nothing the second time.

import type { Result } from "./errors";

/** Where the reply to a request goes. The secret is known only to who was handed the request. */
export type ReplyTo = Readonly<{ generation: string; id: string; secret: string }>;

const REPLY_TO = /^([0-9A-Za-z-]{1,64})\.([\x21-\x2d\x2f-\x7e]{1,128})\.([0-9A-Za-z_-]{22})$/;

/** `{topic's generation}.{message id}.{secret}`, as the request carries it. None of the three has a `.` in it. */
export function replyToText({ generation, id, secret }: ReplyTo): string {
  return `${generation}.${id}.${secret}`;
}

/** The parts of where a reply goes; undefined when the text names nothing. */
export function parseReplyTo(text: string): ReplyTo | undefined {
  const [, generation, id, secret] = REPLY_TO.exec(text) ?? [];
  if (generation === undefined || id === undefined || secret === undefined) return undefined;
  return { generation, id, secret };
}

export type OpenCall = Readonly<{
  id: string;
  /** Of the request's content: the same id with another is refused. */
  fingerprint: string;
  /** How long, from now on, its asker waits. */
  waitMs: number;
}>;

/** `fresh`: nobody has asked under this id before. `reply` is there when it was answered already. */
export type OpenAnswer = Readonly<{ secret: string; fresh: boolean; reply?: Reply }>;

/** What somebody replies. */
export type Said = Readonly<{
  subscription: string;
  /** The leased delivery that is answered, by which a reply that arrives twice is known. */
  delivery?: Readonly<{ partition: number; offset: number; leaseId: string }>;
  attempt?: number;
  /** With which status an endpoint replied. */
  status?: number;
  contentType: string;
  body: Uint8Array;
  /** It was larger than is kept: `body` is empty. */
  tooLarge?: true;
}>;

/** `first`: in time, and what the asker gets. `late`: that too, but after the wait. `second`: another was before it. */
export type ReplyStanding = "first" | "late" | "second";
export type Reply = Said & Readonly<{ standing: ReplyStanding; at: number }>;

/** `dropped`: so many are kept already. `forgotten`: nobody asks under this id, or no longer. */
export type Replied = ReplyStanding | "dropped" | "forgotten";

/** A request as far as its replies go: instants in epoch milliseconds. */
export type RequestView = Readonly<{
  id: string;
  openedAt: number;
  /** Until when its askers wait. */
  askedUntil: number;
  /** Then all of it is forgotten. */
  keptUntil: number;
  /** In the order they came; the first is the one that the asker gets. */
  replies: readonly Reply[];
}>;

export interface ReplyCalls {
  /** Asks, or joins who has asked before with the same content. Refused as `id-reused` for other content. */
  open(call: OpenCall): Promise<Result<OpenAnswer>>;
  /** Keeps a reply. What arrives twice has the standing that it was given first. */
  answer(call: Said & Readonly<{ secret: string }>): Promise<Result<Replied>>;
  /** Waits for the reply up to `waitMs`. Refused as `request-not-found`, or `too-many-requests` when too many wait. */
  hear(call: Readonly<{ waitMs: number }>): Promise<Result<Readonly<{ reply?: Reply }>>>;
  /** Refused as `request-not-found`. */
  show(): Promise<Result<RequestView>>;
}
