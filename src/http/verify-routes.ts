// Having an endpoint verified: at once, by whoever manages its subscription; or later, by the endpoint itself, at the URL
// that a handshake gave it.

import { z } from "zod";
import { CALLBACK_FORM, type Callback, readCallback } from "../callback-token";
import { changePush } from "../catalog/subscription-lifecycle";
import { type Grant, isUnverified, noteTry, readAllowedRate } from "../endpoint-verification";
import { ok, type Result, refuse } from "../errors";
import type { Broker } from "./broker";
import { subscriptionAt } from "./partition-routes";
import { type SubscriptionPlace, withFresh } from "./place-routes";
import { type Method, type Route, reply, route } from "./route";
import { showSubscription, subscriptionShown } from "./subscription-views";

/** Below a subscription or a queue. */
export function verifyRoutes({ base, tag, params, find }: SubscriptionPlace): readonly Route[] {
  return [
    route({
      ...{ method: "post", path: `${base}/verify`, tag, access: ["manage"] },
      summary: "Ask the endpoint now whether it wants what it would be sent",
      description:
        "The answer's `endpoint.verification` says what came of it. One that is verified is not asked again; one that was given up is tried anew.",
      params,
      answers: { 200: { description: "The subscription.", schema: subscriptionShown } },
      handle: async ({ broker, params: path }) => {
        const { by } = broker.catalog;
        const asked = await withFresh(
          broker,
          () => find(broker, path),
          async ({ topic, subscription }) => {
            if (!subscription.settings.push?.verification) {
              return refuse(
                "conflict",
                "Nobody asks for the endpoint to be verified: endpoint.verification does.",
              );
            }
            const answer = await subscriptionAt(broker, subscription, 0).verify({ ...(by && { by }) });
            // The dispatcher wrote it: what this isolate knows is of before.
            broker.catalog.store.forget(topic.name);
            return answer;
          },
        );
        if (!asked.ok) return asked;
        const found = await find(broker, path);
        return found.ok ? reply(200, showSubscription(found.value.subscription)) : found;
      },
    }),
  ];
}

const NO_STORE = { "cache-control": "no-store" };
const granted = z.object({ verified: z.literal(true) }).meta({ id: "Verified" });

/** Where an endpoint grants a handshake later (CloudEvents' HTTP webhooks, 4.1.3). */
export const callbackRoutes: readonly Route[] = (["get", "post"] as const).map((method: Method) =>
  route({
    ...{ method, path: "/v1/verifications/{callback}", tag: "Subscriptions", access: "public" },
    summary: "Grant what a handshake asked for, by the URL that it gave",
    description: "Good once, and for a week. `WebHook-Allowed-Rate` may bound the rate.",
    params: z.object({ callback: z.string().regex(CALLBACK_FORM, "this is no callback of a handshake") }),
    headers: z.object({ "webhook-allowed-rate": z.string().optional() }),
    answers: { 200: { description: "The endpoint is verified.", schema: granted } },
    handle: async ({ broker, params, request }) => {
      const callback = await readCallback(params.callback, broker.secretsKeys, broker.runtime.now());
      if (!callback) return nothingToGrant();
      const grant = grantOf(request.headers.get("webhook-allowed-rate"));
      if (!grant.ok) return grant;
      const noted = await noteGrant(broker, callback, grant.value);
      return noted.ok ? reply(200, { verified: true }, NO_STORE) : noted;
    },
  }),
);

function grantOf(said: string | null): Result<Grant> {
  const rate = said === null ? "any" : readAllowedRate(said);
  if (rate === "any") return ok({ granted: true });
  if (rate !== undefined) return ok({ granted: true, allowedPerMinute: rate });
  return refuse("invalid-request", "WebHook-Allowed-Rate is `*` or a whole number above 0.", {
    field: "WebHook-Allowed-Rate",
  });
}

/** Good for the URL that it was made for, and until that is verified. */
async function noteGrant(
  { catalog, runtime }: Broker,
  callback: Callback,
  grant: Grant,
): Promise<Result<unknown>> {
  const entry = await catalog.store.entries.activeSubscription(callback.generation);
  if (!entry) return nothingToGrant();
  return changePush(catalog, entry, async (push, generation) => {
    const { verification } = push;
    const isAsked = generation === callback.generation && verification?.since === callback.since;
    if (!isAsked || !verification || !isUnverified(push)) return nothingToGrant();
    return ok({ ...push, verification: noteTry(verification, grant, runtime.now()) });
  });
}

function nothingToGrant() {
  return refuse("not-found", "There is nothing to grant here: it was, or its time is over.");
}
