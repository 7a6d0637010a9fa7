// The Worker's entry: requests, Cloudflare Queue batches and the cron go to their folders; the objects and the
// dispatcher are re-exported for the runtime. No logic.

import { DurableObject, WorkerEntrypoint } from "cloudflare:workers";
import type { Env } from "./env";

export { TopicObject } from "./topic/topic-object";

// Placeholders until their folders hold the real ones.
export class SubscriptionObject extends DurableObject<Env> {}
export class Dispatcher extends WorkerEntrypoint<Env> {}

export default {
  fetch: () => new Response("not here yet", { status: 503 }),
  queue: (batch: MessageBatch) => batch.retryAll(),
  scheduled: () => {},
};
