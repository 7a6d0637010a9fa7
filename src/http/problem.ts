// Refusals as HTTP says them: application/problem+json (RFC 9457). A refusal without a row does not compile,
// and docs/problems.md has a section for each.

import type { BrokerError, ErrorCode, FieldFault } from "../errors";

type Kind = Readonly<{
  status: number;
  title: string;
  /** Whether the same request may succeed later. */
  retryable: boolean;
}>;

export type Problem = Readonly<{
  type: string;
  title: string;
  status: number;
  detail: string;
  retryable: boolean;
  field?: string;
  limit?: number | string;
  faults?: readonly FieldFault[];
  /** As draft-ietf-httpapi-ratelimit-headers calls it. */
  "violated-policies"?: readonly string[];
}>;

const final = (status: number, title: string): Kind => ({ status, title, retryable: false });
const passing = (status: number, title: string): Kind => ({ status, title, retryable: true });

export const problems: Readonly<Record<ErrorCode, Kind>> = {
  "invalid-request": final(400, "The request is not valid"),
  "malformed-body": final(400, "The body cannot be read"),
  "unsupported-content-type": final(415, "The content type is not supported"),
  "payload-too-large": final(413, "The request is too large"),
  "body-too-slow": passing(408, "The body did not come in time"),
  unauthenticated: final(401, "A valid token is needed"),
  forbidden: final(403, "The token does not allow this"),
  "not-configured": final(503, "The broker is not configured"),
  "not-found": final(404, "There is no such route"),
  "topic-not-found": final(404, "There is no such topic"),
  "subscription-not-found": final(404, "There is no such subscription"),
  "message-not-found": final(404, "There is no such message"),
  "dead-letter-not-found": final(404, "There is no such dead letter"),
  "snapshot-not-found": final(404, "There is no such snapshot"),
  "token-not-found": final(404, "There is no such token"),
  "stranded-not-found": final(404, "There is no such stranded batch"),
  "schedule-not-found": final(404, "There is no such schedule"),
  "claim-not-found": final(404, "There is no such claim"),
  "request-not-found": final(404, "There is no such request"),
  "method-not-allowed": final(405, "The route does not take this method"),
  conflict: final(409, "This contradicts what exists"),
  "forward-loop": final(409, "The forward would go round for ever"),
  "id-reused": final(422, "The message id was used for other content"),
  "already-released": final(409, "The message has its offset already"),
  "already-cancelled": final(409, "The message was cancelled"),
  "too-many-delayed": passing(429, "Too many messages are delayed"),
  "all-refused": final(422, "Every message was refused"),
  "atomic-refused": final(422, "The atomic publish was refused"),
  "atomic-spans-partitions": final(422, "The atomic publish spans partitions"),
  "producer-spans-partitions": final(422, "The messages of the producer span partitions"),
  "sequence-gap": final(409, "A sequence number is missing"),
  "too-many-producers": final(422, "The partition has too many producers"),
  "priority-not-listed": final(422, "The topic does not use this priority"),
  "source-mismatch": final(422, "What the topic reads from the message does not fit"),
  "schema-mismatch": final(422, "The message does not match the topic's schema"),
  "nobody-to-reply": final(409, "Nobody can reply"),
  "reply-timeout": passing(504, "No reply came in time"),
  "not-pull": final(409, "The subscription is not pulled from"),
  "lease-lost": final(409, "The lease is over"),
  "redrives-spent": final(409, "The dead letter was sent round too often"),
  "claim-in-progress": passing(409, "Another claimant is at work"),
  "claim-reused": final(422, "The claim is for other content"),
  "claim-lost": final(409, "The claim is over"),
  gone: final(410, "It was deleted"),
  "topic-full": passing(429, "The topic is full"),
  "too-many-requests": passing(429, "Too many requests"),
  "rate-limited": passing(429, "The rate limit is spent"),
  "quota-exceeded": passing(429, "The quota is spent"),
  "larger-than-limit": final(422, "The request is larger than its limit"),
  overloaded: passing(503, "The broker is overloaded"),
  unavailable: passing(503, "The broker cannot do this now"),
  internal: passing(500, "The broker has a fault"),
};

/** The problem of a refusal, as it also stands in the place of one item among many. */
export function problemOf({ code, detail, field, limit, faults, policies }: BrokerError): Problem {
  const { status, title, retryable } = problems[code];
  return {
    type: `/docs/problems#${code}`,
    title,
    status,
    detail,
    retryable,
    ...(field !== undefined && { field }),
    ...(limit !== undefined && { limit }),
    ...(faults !== undefined && { faults }),
    ...(policies !== undefined && { "violated-policies": policies }),
  };
}

/** The answer to a refused request. `more` is added to the problem: RFC 9457 calls it extension members. */
export function problemResponse(
  error: BrokerError,
  more: Readonly<Record<string, unknown>> = {},
  extraHeaders: Readonly<Record<string, string>> = {},
): Response {
  const problem = problemOf(error);
  const headers: Record<string, string> = { "content-type": "application/problem+json", ...extraHeaders };
  if (error.retryAfterMs !== undefined) headers["retry-after"] = retryAfterSeconds(error.retryAfterMs);
  if (error.code === "unauthenticated") headers["www-authenticate"] = 'Bearer realm="pennypost"';
  return new Response(JSON.stringify({ ...problem, ...more }), { status: problem.status, headers });
}

/** Whole seconds, as `Retry-After` takes them, and at least one: no sooner than asked. */
function retryAfterSeconds(ms: number): string {
  return String(Math.max(1, Math.ceil(ms / 1000)));
}
