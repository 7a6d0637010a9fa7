// The dispatcher: the stateless entrypoint that carries a leased batch to its endpoint. It keeps nothing: whatever
// happens to it, the lease ends and is given out again. Here it gets hold of the platform; what it does with it is
// in dispatch.ts.

import { WorkerEntrypoint } from "cloudflare:workers";
import { callbackText } from "../callback-token";
import { CatalogStore, type TopicEntry } from "../catalog/catalog-store";
import { setPaused } from "../catalog/subscription-lifecycle";
import type { Begin, DispatchCall, DispatchCalls } from "../dispatch-calls";
import { type Env, settings } from "../env";
import { ok, type Result, refuse } from "../errors";
import { LedgerStore } from "../ledger/ledger-store";
import { limits } from "../limits";
import { toBase64 } from "../message-json";
import { objectName, replyName } from "../object-name";
import { systemRuntime } from "../runtime";
import type { Forward } from "../settings";
import type { VerifyCall, VerifyCalls } from "../verify-calls";
import { dispatch } from "./dispatch";
import type { Carrying } from "./dispatch-run";
import { type Forwarding, forward } from "./forward";
import { verifyEndpoint } from "./verification-store";
import { askEndpoint, type Verifying } from "./verifying";

export class Dispatcher extends WorkerEntrypoint<Env> implements DispatchCalls, VerifyCalls {
  /** Carries a leased batch to its endpoint, or to another topic, and reports how it fared. Never throws for their faults. */
  async deliver(call: DispatchCall, begin: Begin): Promise<void> {
    const { env } = this;
    const { local, log, secretsKeys, ownHosts } = settings(env);
    const subscription = env.SUBSCRIPTION.getByName(objectName(call.generation, call.partition));
    const carrying: Carrying = {
      ...world,
      begin: () => begin(),
      report: (report) => subscription.report(report),
      log: (line) => {
        if (log) console.log(JSON.stringify(line));
      },
    };
    const gone = () => this.ctx.waitUntil(pauseGone(env, call));
    const target = call.settings.forward;
    if (target) return forward(call, { ...carrying, ...forwarding(env, target), targetGone: gone });
    await dispatch(call, {
      ...{ ...world, ...carrying, local, secretsKeys, ownHosts },
      ledger: new LedgerStore(env.LEDGER, systemRuntime),
      reply: (to, said) => env.REPLY.getByName(replyName(to)).answer({ secret: to.secret, ...said }),
      topicRetentionMs: () => topicRetentionMs(env, call.topic),
      endpointGone: gone,
    });
  }

  /** Asks an endpoint that is not verified, once, and has the catalog write down what it said. */
  async verify(call: VerifyCall): Promise<Result<null>> {
    const { env } = this;
    const { local, secretsKeys, ownHosts } = settings(env);
    const store = new CatalogStore(env.CATALOG, systemRuntime);
    const verifying: Verifying = {
      ...{ ...world, local, secretsKeys, ownHosts },
      newChallenge: () => toBase64(crypto.getRandomValues(new Uint8Array(CHALLENGE_BYTES))),
      callbackFor: async ({ generation, verification: { base, since } }) => {
        if (secretsKeys.length === 0) return undefined;
        const until = systemRuntime.now() + limits.callbackMs;
        return `${base}/v1/verifications/${await callbackText({ generation, since, until }, secretsKeys)}`;
      },
    };
    const catalog = { env, store, runtime: systemRuntime };
    return verifyEndpoint(catalog, call, (asked) => askEndpoint(asked, verifying));
  }
}

const CHALLENGE_BYTES = 32;

/** The platform, as whoever makes requests is handed it. */
const world = {
  runtime: systemRuntime,
  fetch: (url: string, init: RequestInit) => fetch(url, init),
  timeout: (ms: number) => AbortSignal.timeout(ms),
  sleep: (ms: number) => new Promise<void>((wake) => setTimeout(wake, ms)),
};

function forwarding(env: Env, target: Forward): Pick<Forwarding, "target" | "append" | "digest"> {
  return {
    target: () => targetTopic(env, target),
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
async function targetTopic(env: Env, { topic, generation }: Forward): Promise<Result<TopicEntry>> {
  const store = new CatalogStore(env.CATALOG, systemRuntime);
  const known = await store.topic(topic);
  if (known.ok && known.value.generation === generation) return known;
  store.forget(topic);
  const found = await store.topic(topic);
  if (found.ok ? found.value.generation === generation : found.error.code !== "topic-not-found") return found;
  return refuse("gone", `The topic "${topic}" that this is forwarded to was deleted.`);
}

/** Through the isolate's cache of the catalog; undefined while the topic cannot be read, or is gone. */
async function topicRetentionMs(env: Env, name: string): Promise<number | undefined> {
  const topic = await new CatalogStore(env.CATALOG, systemRuntime).topic(name);
  return topic.ok ? topic.value.settings.retentionMs : undefined;
}

/** Pauses the subscription whose endpoint or target is gone, unless it was made anew or got another meanwhile. */
async function pauseGone(env: Env, call: DispatchCall): Promise<void> {
  const store = new CatalogStore(env.CATALOG, systemRuntime);
  const topic = await store.topic(call.topic);
  if (!topic.ok) return;
  const found = await store.subscription(topic.value, call.subscription);
  if (!found.ok || found.value.generation !== call.generation) return;
  const { push, forward: target } = found.value.settings;
  if (push?.url !== call.settings.push?.url) return;
  if (target?.generation !== call.settings.forward?.generation) return;
  const catalog = { env, store, runtime: systemRuntime };
  const reason = target ? "target-gone" : "endpoint-gone";
  const paused = await setPaused(catalog, call.topic, call.subscription, true, reason);
  if (!paused.ok) throw new Error(`a subscription with ${reason} was not paused: ${paused.error.code}`);
}
