// The Worker's entry: requests, Cloudflare Queue batches and the cron go to their folders; the objects and the
// dispatcher are re-exported for the runtime. No logic.

import { CatalogStore } from "./catalog/catalog-store";
import { sweep } from "./catalog/sweep";
import type { Env } from "./env";
import { createApp } from "./http/app";
import { consumeIngress, consumeIngressDead } from "./ingress/ingress-consumer";
import { LedgerStore } from "./ledger/ledger-store";
import { limits } from "./limits";
import { systemRuntime } from "./runtime";

export { CapacityObject } from "./capacity/capacity-object";
export { Doorkeeper } from "./http/doorkeeper";
export { LimiterObject } from "./limiter/limiter-object";
export { Dispatcher } from "./push/dispatcher";
export { ReplyObject } from "./reply/reply-object";
export { SubscriptionObject } from "./subscription/subscription-object";
export { TopicObject } from "./topic/topic-object";

const app = createApp();
const consumers = {
  "pennypost-ingress": consumeIngress,
  "pennypost-ingress-dead": consumeIngressDead,
};

export default {
  fetch: app.fetch,
  queue: (batch, env) => consumers[batch.queue as keyof typeof consumers](batch, env, systemRuntime),
  scheduled: (_controller, env) => {
    const catalog = { env, store: new CatalogStore(env.CATALOG, systemRuntime), runtime: systemRuntime };
    const ledger = new LedgerStore(env.LEDGER, systemRuntime);
    return sweep(catalog, () => ledger.sweep(limits.ledgerSweepRows)).then(() => undefined);
  },
} satisfies ExportedHandler<Env>;
