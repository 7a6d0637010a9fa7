// Where a lease is carried to, as the platform has it: the topic that it is forwarded to, looked up in the catalog and
// appended to; and the pause of a subscription whose target or endpoint is no more.

import { CatalogStore, type TopicEntry } from "../catalog/catalog-store";
import { setPaused } from "../catalog/subscription-lifecycle";
import type { DispatchCall } from "../dispatch-calls";
import type { Env } from "../env";
import { ok, type Result, refuse } from "../errors";
import { objectName } from "../object-name";
import type { Runtime } from "../runtime";
import type { Forward } from "../settings";
import type { Forwarding } from "./forward";

/** What a forward to `target` needs of the platform. */
export function targetOf(
  env: Env,
  runtime: Runtime,
  target: Forward,
): Pick<Forwarding, "target" | "append" | "digest"> {
  return {
    target: () => targetTopic(env, runtime, target),
    append: async (batch) => {
      const topic = env.TOPIC.getByName(objectName(batch.generation, batch.partition));
      const answers = await topic.append({ batches: [batch] });
      if (!answers.ok) return answers;
      const [answer] = answers.value;
      if (!answer) throw new Error("the topic answered no record batch");
      return ok(answer);
    },
    digest: async (bytes) => new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)),
  };
}

/** Through the isolate's cache; what it knows may be out of date, so before a target counts as gone D1 is asked. */
async function targetTopic(
  env: Env,
  runtime: Runtime,
  { topic, generation }: Forward,
): Promise<Result<TopicEntry>> {
  const store = new CatalogStore(env.CATALOG, runtime);
  const known = await store.topic(topic);
  if (known.ok && known.value.generation === generation) return known;
  store.forget(topic);
  const found = await store.topic(topic);
  if (found.ok ? found.value.generation === generation : found.error.code !== "topic-not-found") return found;
  return refuse("gone", `The topic "${topic}" that this is forwarded to was deleted.`);
}

/** Pauses the subscription whose endpoint or target is gone, unless it was made anew or got another meanwhile. */
export async function pauseGone(env: Env, runtime: Runtime, call: DispatchCall): Promise<void> {
  const store = new CatalogStore(env.CATALOG, runtime);
  const topic = await store.topic(call.topic);
  if (!topic.ok) return;
  const found = await store.subscription(topic.value, call.subscription);
  if (!found.ok || found.value.generation !== call.generation) return;
  const { push, forward: target } = found.value.settings;
  if (push?.url !== call.settings.push?.url) return;
  if (target?.generation !== call.settings.forward?.generation) return;
  const catalog = { env, store, runtime };
  const reason = target ? "target-gone" : "endpoint-gone";
  const paused = await setPaused(catalog, call.topic, call.subscription, true, reason);
  if (!paused.ok) throw new Error(`a subscription with ${reason} was not paused: ${paused.error.code}`);
}
