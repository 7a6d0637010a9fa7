// The headers RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers): every limit that an answer's token
// or topic is held to, and how it stands.

import type { Standing } from "./meter";

/** None when there is no limit. What an isolate has not asked for yet has a policy, and no standing. */
export function rateLimitHeaders(standings: readonly Standing[]): Readonly<Record<string, string>> {
  if (standings.length === 0) return {};
  const stated = standings.flatMap(itemOf);
  return {
    "ratelimit-policy": standings.map(policyOf).join(", "),
    ...(stated.length > 0 && { ratelimit: stated.join(", ") }),
  };
}

function policyOf({ policy: { name, limit }, windowMs }: Standing): string {
  return `"${name}";q=${limit};w=${windowMs / 1000}`;
}

function itemOf({ policy: { name }, left, endsInMs }: Standing): string[] {
  return left === undefined ? [] : [`"${name}";r=${left};t=${Math.ceil(endsInMs / 1000)}`];
}
