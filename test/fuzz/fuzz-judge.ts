// What an answer must be, whatever was asked: no fault of the broker, in time, and a refusal that a client can read.

import { problems } from "../../src/http/problem.ts";
import type { HostileRequest } from "./hostile-requests.ts";

export type FuzzAnswer = Readonly<{
  status: number;
  contentType: string;
  /** Of answers from 400 on; others are not read. */
  text: string;
  ms: number;
}>;
export type Send = (request: HostileRequest) => Promise<FuzzAnswer>;

/** The only refusals that a broker without a fault gives with 5xx: it is busy, has no token, or nobody has replied. */
const AWAY = ["overloaded", "unavailable", "not-configured", "reply-timeout"];

/** Why this answer is a fault; undefined when it is none. `withinMs` bounds how long it may have taken. */
export function faultOf(
  { method }: HostileRequest,
  answer: FuzzAnswer,
  withinMs: number,
): string | undefined {
  const { status, contentType, text, ms } = answer;
  if (ms > withinMs) return `answered after ${Math.round(ms)} ms`;
  if (status >= 500 && status !== 503 && status !== 504) return `answered ${status}: ${text.slice(0, 300)}`;
  // The answer to HEAD has no body to judge.
  if (status < 400 || method === "HEAD") return undefined;
  if (contentType !== "application/problem+json") return `answered ${status} as '${contentType}'`;
  return problemFault(status, text);
}

function problemFault(status: number, text: string): string | undefined {
  const said = parsed(text);
  if (said === undefined) return `answered ${status} with what is no JSON: ${text.slice(0, 100)}`;
  const code = /^\/docs\/problems#([a-z-]+)$/.exec(String(said.type))?.[1] ?? "";
  const kinds: Readonly<Record<string, (typeof problems)["internal"]>> = problems;
  const kind = Object.hasOwn(kinds, code) ? kinds[code] : undefined;
  if (!kind) return `answered with a code that is not in the table: ${text.slice(0, 200)}`;
  if (status >= 500 && !AWAY.includes(code)) return `answered ${status} ${code}`;
  const agrees =
    kind.status === status &&
    said.status === status &&
    said.title === kind.title &&
    said.retryable === kind.retryable &&
    typeof said.detail === "string";
  return agrees
    ? undefined
    : `answered ${status} with a problem that is not the table's: ${text.slice(0, 300)}`;
}

function parsed(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
