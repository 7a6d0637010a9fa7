// The Worker's entry: requests, Cloudflare Queue batches and the cron go to their folders; the objects and the
// dispatcher are re-exported for the runtime. No logic.

export { Dispatcher } from "./push/dispatcher";
export { SubscriptionObject } from "./subscription/subscription-object";
export { TopicObject } from "./topic/topic-object";

export default {
  fetch: () => new Response("not here yet", { status: 503 }),
  queue: (batch: MessageBatch) => batch.retryAll(),
  scheduled: () => {},
};
