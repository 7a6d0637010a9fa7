// Exchanging the secrets of a push endpoint, and the public keys that its receivers verify with.

import { z } from "zod";
import { changePush } from "../catalog/subscription-lifecycle";
import { expireOld, newestOf, rotate, schemesOf } from "../endpoint-secrets";
import { ok, refuse } from "../errors";
import { limits } from "../limits";
import { sealKeys, sealPush } from "../sealed-push";
import { signingSecret } from "./endpoint-schemas";
import { keySet } from "./key-set";
import { publicKeysOf } from "./key-set-store";
import type { SubscriptionPlace } from "./place-routes";
import { problemResponse } from "./problem";
import { type Route, reply, route } from "./route";
import { whole } from "./schemas";
import { secretsFor } from "./seal-store";
import { showSubscription, subscriptionShown } from "./subscription-views";

const NO_STORE = { "cache-control": "no-store" };
/** A receiver that keeps the keys for five minutes is done long before an overlap ends. */
const FIVE_MINUTES = { "cache-control": "public, max-age=300" };
/** Nobody is told of a set before it is there. */
const A_WHILE = { "cache-control": "public, max-age=10" };

const rotation = z
  .strictObject({
    overlapMs: whole(0, limits.maxSecretOverlapMs)
      .default(limits.defaultSecretOverlapMs)
      .meta({ description: "How long what signed until now goes on to. 0 ends it at once." }),
    signingSecret: signingSecret.optional().meta({ description: "The new secret of v1; made unless given." }),
  })
  .meta({ id: "SecretRotation" });

/** Rotation of signing keys, below a subscription or a queue. */
export function secretRoutes({ base, tag, params, find }: SubscriptionPlace): readonly Route[] {
  const shown = { description: "The subscription.", schema: subscriptionShown };
  return [
    route({
      ...{ method: "post", path: `${base}/rotate-secret`, tag, access: ["manage"] },
      summary: "Begin to sign with new keys, beside the old ones for a while",
      description:
        "The answer shows the new secret, once. Meanwhile each request carries a signature of each key.",
      params,
      body: rotation,
      answers: { 200: shown },
      handle: async ({ broker, params: path, body }) => {
        const secrets = await secretsFor(broker, body.signingSecret);
        if (!secrets.ok) return secrets;
        const found = await find(broker, path);
        if (!found.ok) return found;
        const { keyring, offeredKeys } = secrets.value;
        const when = { now: broker.runtime.now(), overlapMs: body.overlapMs };
        const entry = await changePush(broker.catalog, found.value.subscription, async (push, generation) => {
          const held = await sealPush(push, keyring, generation);
          const fresh = await sealKeys(offeredKeys, keyring, generation);
          if (body.signingSecret === undefined) return rotate(held, fresh, when);
          if (!schemesOf(held).includes("v1")) return notOfV1();
          // A request that comes again with the secret that signs already changes nothing.
          const same = JSON.stringify(newestOf(held, "v1")?.secret) === JSON.stringify(fresh[0]?.secret);
          return same ? ok(held) : rotate(held, fresh, when);
        });
        if (!entry.ok) return entry;
        const secret = await secrets.value.shown(entry.value);
        return reply(200, showSubscription(entry.value, secret), NO_STORE);
      },
    }),
    route({
      ...{ method: "post", path: `${base}/expire-secrets`, tag, access: ["manage"] },
      summary: "Sign with the newest keys only: an overlap ends now",
      params,
      answers: { 200: shown },
      handle: async ({ broker, params: path }) => {
        const secrets = await secretsFor(broker);
        if (!secrets.ok) return secrets;
        const found = await find(broker, path);
        if (!found.ok) return found;
        const entry = await changePush(broker.catalog, found.value.subscription, async (push, generation) =>
          ok(expireOld(await sealPush(push, secrets.value.keyring, generation))),
        );
        return entry.ok ? reply(200, showSubscription(entry.value)) : entry;
      },
    }),
  ];
}

function notOfV1() {
  return refuse("invalid-request", "signingSecret: the endpoint is not signed for with v1", {
    field: "signingSecret",
  });
}

/** Anyone may read public keys. Their URL names a subscription's generation, which tells no name. */
export const signingKeysRoute: Route = route({
  ...{ method: "get", path: "/v1/signing-keys/{keySet}", tag: "Subscriptions", access: "public" },
  summary: "The public keys that verify a push subscription's v1a signatures",
  params: z.object({ keySet: z.uuid() }),
  answers: {
    200: {
      description: "A JSON Web Key Set; each key has its Standard Webhooks form, too.",
      schema: z
        .object({
          keys: z.array(
            z.object({
              ...{ kty: z.literal("OKP"), crv: z.literal("Ed25519"), alg: z.literal("EdDSA") },
              ...{ use: z.literal("sig"), kid: z.string(), x: z.string(), whpk: z.string() },
            }),
          ),
        })
        .meta({ id: "SigningKeys" }),
    },
  },
  handle: async ({ broker, params, request }) => {
    const read = await publicKeysOf(broker, params.keySet, request.headers.get("cf-connecting-ip"));
    if (!read.ok) return read;
    const keys = keySet(read.value);
    if (keys.length > 0) return reply(200, { keys }, FIVE_MINUTES);
    const { error } = refuse("not-found", "There are no such keys.");
    return problemResponse(error, {}, A_WHILE);
  },
});
