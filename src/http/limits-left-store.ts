// How the limits of a token or a topic stand, asked of its limiter when one thing is shown.

import type { Token, TopicEntry } from "../catalog/catalog-entry";
import {
  type Policy,
  tokenQuota,
  tokenRate,
  tokenSubject,
  topicPolicies,
  topicSubject,
} from "../limit-policy";
import type { Broker } from "./broker";

type Shown = Readonly<{ policy: string; limit: number; left: number | null; resetsAt: number | null }>;
type LimitsLeft = Readonly<{ limits?: readonly Shown[] }>;

export function tokenLimitsLeft(broker: Broker, { id, limits }: Token): Promise<LimitsLeft> {
  return limitsLeft(broker, tokenSubject(id), [...tokenRate(limits), ...tokenQuota(limits)]);
}

export function topicLimitsLeft(broker: Broker, { generation, settings }: TopicEntry): Promise<LimitsLeft> {
  return limitsLeft(broker, topicSubject(generation), topicPolicies(settings));
}

/** Nothing without limits. A limiter that is away leaves what is shown unknown, and does not keep it from being shown. */
async function limitsLeft(broker: Broker, subject: string, policies: readonly Policy[]): Promise<LimitsLeft> {
  if (policies.length === 0) return {};
  const looked = await look(broker, subject, policies);
  const limits = policies.map(({ name, limit }, index) => {
    const { left = null, endsAt = null } = looked[index] ?? {};
    return { policy: name, limit, left, resetsAt: endsAt };
  });
  return { limits };
}

async function look({ env, log }: Broker, subject: string, policies: readonly Policy[]) {
  try {
    const looked = await env.LIMITER.getByName(subject).look({ policies });
    return looked.ok ? looked.value : [];
  } catch (fault) {
    if (log) console.warn(JSON.stringify({ at: "limiter", fault: String(fault) }));
    return [];
  }
}
