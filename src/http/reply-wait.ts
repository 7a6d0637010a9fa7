// How long an asker is ready to wait for a reply, as its request says it: `Prefer: wait=10` (RFC 7240), in seconds.

import { ok, type Result, refuse } from "../errors";
import { limits } from "../limits";

const WAIT = /(?:^|,)\s*wait\s*=\s*"?(\d+)"?\s*(?:[;,]|$)/i;

/** The wait in milliseconds. Refused when it is longer than a request may wait. */
export function replyWaitMs(prefer: string | null): Result<number> {
  const [, seconds] = WAIT.exec(prefer ?? "") ?? [];
  if (seconds === undefined) return ok(limits.defaultReplyWaitMs);
  const waitMs = Number(seconds) * 1000;
  if (waitMs <= limits.maxReplyWaitMs) return ok(waitMs);
  const limit = limits.maxReplyWaitMs / 1000;
  return refuse("invalid-request", `A request waits 0 to ${limit} seconds.`, { field: "Prefer", limit });
}
