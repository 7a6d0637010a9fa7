// The closed list of refusals, and Result: what an operation that can be refused answers.
// A refusal is an answer, so it is returned; a fault is a bug or an outage, so it is thrown.
// This file knows no HTTP: http/problem.ts gives each code its status.

export type ErrorCode =
  | "invalid-request"
  | "malformed-body"
  | "unsupported-content-type"
  | "payload-too-large"
  | "body-too-slow"
  | "unauthenticated"
  | "forbidden"
  | "not-configured"
  | "not-found"
  | "topic-not-found"
  | "subscription-not-found"
  | "message-not-found"
  | "dead-letter-not-found"
  | "snapshot-not-found"
  | "token-not-found"
  | "stranded-not-found"
  | "schedule-not-found"
  | "claim-not-found"
  | "request-not-found"
  | "method-not-allowed"
  | "conflict"
  | "forward-loop"
  | "id-reused"
  | "already-released"
  | "already-cancelled"
  | "too-many-delayed"
  | "all-refused"
  | "atomic-refused"
  | "atomic-spans-partitions"
  | "producer-spans-partitions"
  | "sequence-gap"
  | "too-many-producers"
  | "priority-not-listed"
  | "source-mismatch"
  | "schema-mismatch"
  | "nobody-to-reply"
  | "reply-timeout"
  | "not-pull"
  | "lease-lost"
  | "redrives-spent"
  | "claim-in-progress"
  | "claim-reused"
  | "claim-lost"
  | "gone"
  | "topic-full"
  | "too-many-requests"
  | "rate-limited"
  | "quota-exceeded"
  | "larger-than-limit"
  | "overloaded"
  | "unavailable"
  | "internal";

/** A refusal: its code, one sentence for a person, and where known the field and the limit it met. */
export type BrokerError = Readonly<{
  code: ErrorCode;
  detail: string;
  field?: string;
  limit?: number | string;
  retryAfterMs?: number;
  /** The names of the limits that it would have gone beyond. */
  policies?: readonly string[];
  /** Every field that was refused, when there are several; `field` and `limit` are those of the first. */
  faults?: readonly FieldFault[];
}>;

export type FieldFault = Readonly<{ field: string; detail: string; limit?: number | string }>;

export type Ok<T> = Readonly<{ ok: true; value: T }>;
export type Refused = Readonly<{ ok: false; error: BrokerError }>;
export type Result<T> = Ok<T> | Refused;

export function ok<T>(value: T): Ok<T> {
  return { ok: true, value };
}

/** Refuses with `code`; `more` names the field, the limit or the time to wait. */
export function refuse(
  code: ErrorCode,
  detail: string,
  more: Omit<BrokerError, "code" | "detail"> = {},
): Refused {
  return { ok: false, error: { code, detail, ...more } };
}

/**
 * What another object answered, as an answer of one's own. Handed on as it came it brings the call that it is of: the platform
 * keeps that open until whoever gets the answer disposes of it, and nobody does.
 */
export function asOwn<T>(answer: Result<T>): Result<T> {
  return answer.ok ? ok(answer.value) : { ok: false, error: answer.error };
}
