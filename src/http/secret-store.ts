// The signing secret of an endpoint: made once, kept in the catalog with the subscription, shown once.

import { newSigningSecret } from "./auth";
import type { Broker } from "./broker";

type WithEndpoint = Readonly<{
  type: "push" | "pull";
  endpoint?: Readonly<{ signingSecret?: string | undefined }> | undefined;
}>;

/**
 * The signing secret that a PUT sets, and its answer shows: the one it gives, or a new one when there is none yet.
 * Undefined leaves the secret as it is.
 */
export async function secretFor(
  { catalog }: Broker,
  topicName: string,
  name: string,
  { type, endpoint }: WithEndpoint,
): Promise<string | undefined> {
  if (type === "pull") return undefined;
  if (endpoint?.signingSecret !== undefined) return endpoint.signingSecret;
  const { entries } = catalog.store;
  const topic = await entries.findTopic(topicName);
  const held = topic && (await entries.findSubscription(topic.generation, name));
  const hasSecret = held?.state === "active" && (held.settings.push?.secrets.length ?? 0) > 0;
  return hasSecret ? undefined : newSigningSecret();
}
