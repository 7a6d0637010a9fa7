// The topic that a subscription forwards to, as it is when that is set: it exists, whoever sets it may publish there, and no
// way leads back from it.

import type { SubscriptionEntry } from "../catalog/catalog-entry";
import { ForwardStore } from "../catalog/forward-store";
import { putSubscription } from "../catalog/subscription-lifecycle";
import { ok, type Result, refuse } from "../errors";
import type { Forward } from "../settings";
import type { Broker } from "./broker";
import type { Found } from "./place-routes";
import { mayDo, type Principal } from "./scope";

const FIELD = "forward.topic";

/** The settings of a forward from `topic`; none when `forward` names none. Nobody who may not publish there learns whether it exists. */
export async function forwardTo(
  broker: Broker,
  principal: Principal,
  topic: string,
  forward: Readonly<{ topic: string }> | undefined,
): Promise<Result<{ forward?: Forward }>> {
  if (forward === undefined) return ok({});
  const { topic: target } = forward;
  if (!mayDo(principal, ["publish"], target)) {
    return refuse("forbidden", `This needs the scope publish on "${target}".`, { field: FIELD });
  }
  if (target === topic) {
    return refuse("forward-loop", `"${topic}" cannot be forwarded to itself.`, { field: FIELD });
  }
  const found = await currentTopic(broker, target);
  if (!found.ok) return found;
  if (await new ForwardStore(broker.env.CATALOG).leads(target, topic)) {
    const detail = `What is published to "${target}" comes to "${topic}": it would go round for ever.`;
    return refuse("forward-loop", detail, { field: FIELD });
  }
  return ok({ forward: { topic: target, generation: found.value.generation } });
}

/**
 * Before a subscription is resumed: one whose target was deleted and made anew is bound to that, by somebody who may publish
 * there. To any other this does nothing.
 */
export async function bindAnew(
  broker: Broker,
  principal: Principal,
  { topic, subscription }: Found,
): Promise<Result<SubscriptionEntry>> {
  const { settings, name, startAt } = subscription;
  if (!settings.forward) return ok(subscription);
  const held = await currentTopic(broker, settings.forward.topic);
  if (held.ok && held.value.generation === settings.forward.generation) return ok(subscription);
  const target = await forwardTo(broker, principal, topic.name, settings.forward);
  if (!target.ok) return target;
  const wanted = { topic, name, startAt, settings: { ...settings, ...target.value } };
  const put = await putSubscription(broker.catalog, wanted);
  return put.ok ? ok(put.value.entry) : put;
}

/** As D1 has it now: it may have been made a moment ago, by another isolate. */
async function currentTopic({ catalog }: Broker, name: string) {
  const found = await catalog.store.entries.findTopic(name);
  if (found?.state === "active") return ok(found);
  return refuse("topic-not-found", `There is no topic "${name}".`, { field: FIELD });
}
