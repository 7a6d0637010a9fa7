// When a record batch that its topic did not take is tried again: exponential backoff with full jitter.

import { limits } from "../limits";

/**
 * The delay before the next attempt, in whole seconds as Cloudflare Queues takes them. `attempts` is 1 after the
 * first; `jitter` is in [0, 1). `atLeastMs` is what the topic itself asked for. Always within 1 to 300 s.
 */
export function retryDelaySeconds(attempts: number, jitter: number, atLeastMs = 0): number {
  const ceilingMs = Math.min(limits.maxIngressRetryMs, limits.minIngressRetryMs * 2 ** (attempts - 1));
  const delayMs = Math.max(jitter * ceilingMs, atLeastMs, limits.minIngressRetryMs);
  return Math.ceil(Math.min(delayMs, limits.maxIngressRetryMs) / 1000);
}
