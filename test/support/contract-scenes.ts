// Words and scenes that the contract's tests share: what is published, how eagerly it is tried again, and a topic
// with an endpoint.

import type { Client } from "./contract-client";
import type { Hook, Receiver } from "./contract-receiver";

/** A deadline as short as it may be, and a wait in which it certainly passes. */
export const SHORT_MS = 1_000;
export const PAST_SHORT_MS = 2_500;
/** What fails is tried again at once. */
export const EAGER = { retry: { minDelayMs: 0, maxDelayMs: 0 } };
/** What fails waits so long that no test sees it again by chance. */
export const PATIENT = { retry: { minDelayMs: 3_600_000, maxDelayMs: 3_600_000 } };

export const ids = (messages: readonly { id: string }[]) => messages.map(({ id }) => id);
export const named = (...names: string[]) => names.map((id) => ({ id, data: id }));
/** `a1` is a message of the key `a`. */
export const keyed = (...names: string[]) =>
  names.map((id) => ({ id, orderingKey: id.replace(/\d+$/, ""), data: id }));

export const idOf = ({ headers }: Hook) => headers.get("webhook-id");
export const attemptOf = ({ headers }: Hook) => Number(headers.get("pennypost-attempt"));
/** The settings of a subscription that is pushed to `receiver`, and eager unless `more` says otherwise. */
export const pushTo = ({ url }: Receiver, more: object = {}) => ({
  type: "push",
  endpoint: { url },
  ...EAGER,
  ...more,
});

/** Makes topics with one push subscription, and the endpoint that it is sent to. */
export const pushScene =
  (broker: Client) =>
  async (more: object = {}) => {
    const [topic, receiver] = [await broker.topic(), await broker.receiver()];
    const subscription = await topic.subscribe(pushTo(receiver, more));
    return { topic, receiver, subscription };
  };
