// The dispatcher: the stateless entrypoint that carries a leased batch to its endpoint. It keeps nothing: whatever
// happens to it, the lease ends and is given out again. Here it gets hold of the platform; what it does with it is
// in dispatch.ts.

import { WorkerEntrypoint } from "cloudflare:workers";
import { callbackText } from "../callback-token";
import { CatalogStore } from "../catalog/catalog-store";
import type { Begin, DispatchCall, DispatchCalls } from "../dispatch-calls";
import { type Env, settings } from "../env";
import type { Result } from "../errors";
import { LedgerStore } from "../ledger/ledger-store";
import { limits } from "../limits";
import { toBase64 } from "../message-json";
import { objectName, replyName } from "../object-name";
import { DEFAULT_PRIORITY, priorityShown } from "../priority";
import { systemRuntime } from "../runtime";
import type { VerifyCall, VerifyCalls } from "../verify-calls";
import { dispatch } from "./dispatch";
import type { Carrying, Dispatching } from "./dispatch-run";
import { forward } from "./forward";
import { pauseGone, targetOf } from "./target-store";
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
    const gone = () => this.ctx.waitUntil(pauseGone(env, systemRuntime, call));
    const target = call.settings.forward;
    if (target)
      return forward(call, { ...carrying, ...targetOf(env, systemRuntime, target), targetGone: gone });
    await dispatch(call, {
      ...{ ...world, ...carrying, local, secretsKeys, ownHosts },
      ledger: new LedgerStore(env.LEDGER, systemRuntime),
      reply: (to, said) => env.REPLY.getByName(replyName(to)).answer({ secret: to.secret, ...said }),
      topicRetentionMs: () => topicRetentionMs(env, call.topic),
      share: sharing(env, call),
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

/** Through the isolate's cache of the catalog; undefined while the topic cannot be read, or is gone. */
async function topicRetentionMs(env: Env, name: string): Promise<number | undefined> {
  const topic = await new CatalogStore(env.CATALOG, systemRuntime).topic(name);
  return topic.ok ? topic.value.settings.retentionMs : undefined;
}

/** Asks the capacity of the call's subscription. Its priority is looked up once, through the isolate's cache of the catalog. */
function sharing(env: Env, { topic, generation, partition }: DispatchCall): Dispatching["share"] {
  let priority: Promise<number> | undefined;
  return async (asked) => {
    priority ??= priorityOf(env, topic, partition);
    const call = { partition, priority: await priority, ...asked };
    return env.CAPACITY.getByName(generation).share(call);
  };
}

/** While the topic cannot be read, a message counts as one that names no priority. */
async function priorityOf(env: Env, name: string, partition: number): Promise<number> {
  const topic = await new CatalogStore(env.CATALOG, systemRuntime).topic(name);
  return (topic.ok ? priorityShown(topic.value, partition).priority : undefined) ?? DEFAULT_PRIORITY;
}
