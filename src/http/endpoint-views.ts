// The endpoint of a push subscription as the API shows it. Whatever is secret went in and never comes out, but for a
// signing secret in the answer that made it.

import { z } from "zod";
import type { SubscriptionEntry } from "../catalog/catalog-entry";
import { type EndpointAuth, keysOf, schemesOf } from "../endpoint-secrets";
import { PUSH_FORMATS, type PushSettings } from "../settings";
import { paceFields, showPace } from "./endpoint-pace";
import { oauth2Shown } from "./endpoint-schemas";
import { showVerification, verificationView } from "./endpoint-verifying";
import { instant } from "./schemas";

export const endpointView = z.object({
  url: z.string(),
  headerNames: z.array(z.string()),
  timeoutMs: z.int(),
  format: z.enum(PUSH_FORMATS),
  ...paceFields,
  signatures: z.array(z.enum(["v1", "v1a"])),
  signingKeys: z
    .array(
      z.object({
        scheme: z.enum(["v1", "v1a"]),
        publicKey: z.string().optional(),
        expiresAt: instant.optional(),
      }),
    )
    .meta({ description: "Newest first; one that was replaced signs until `expiresAt`." }),
  keysUrl: z.string().optional().meta({ description: "Where receivers find the public keys of v1a." }),
  signingSecret: z.string().optional().meta({ description: "Only in the answer that made it." }),
  auth: z
    .discriminatedUnion("type", [
      z.object({ type: z.literal("bearer") }),
      z.object({ type: z.literal("basic"), username: z.string() }),
      z.object({ ...oauth2Shown, clientAuthentication: z.enum(["header", "body"]) }),
    ])
    .optional(),
  verification: verificationView.optional(),
});

/** An endpoint as it is shown: names, never values; and `secret`, when this very answer made it. */
export function showEndpoint(
  { generation }: Pick<SubscriptionEntry, "generation">,
  push: PushSettings,
  secret?: string,
): z.output<typeof endpointView> {
  const signatures = [...schemesOf(push)];
  return {
    url: push.url,
    headerNames: [...new Set([...Object.keys(push.sealedHeaders ?? {}), ...Object.keys(push.headers)])],
    timeoutMs: push.timeoutMs,
    format: push.format ?? "raw",
    ...showPace(push),
    signatures,
    signingKeys: keysOf(push)
      .filter(({ scheme }) => signatures.includes(scheme))
      .map(({ secret: _, ...shown }) => shown),
    ...(signatures.includes("v1a") && { keysUrl: `/v1/signing-keys/${generation}` }),
    ...(secret !== undefined && { signingSecret: secret }),
    ...(push.auth && { auth: showAuth(push.auth) }),
    ...(push.verification && { verification: showVerification(push.verification) }),
  };
}

function showAuth({ secret: _, ...shown }: EndpointAuth) {
  return shown;
}
