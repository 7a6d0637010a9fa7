// The endpoint of a push subscription as the API takes it: where requests go, which headers they have beside the broker's,
// what signs them, and how they show who sends them.

import { z } from "zod";
import type { EndpointAuth } from "../endpoint-secrets";
import { checkEndpointUrl, type UrlRules } from "../endpoint-url";
import { VERIFICATION_CHOICES, type VerificationChoice } from "../endpoint-verification";
import type { FieldFault } from "../errors";
import { limits } from "../limits";
import { PUSH_FORMATS, type PushSettings } from "../settings";
import { paceFields, paceSettings } from "./endpoint-pace";
import { whole } from "./schemas";
import { HEADER_NAME } from "./topic-schemas";

const SIGNING_SECRET = /^whsec_[A-Za-z0-9+/]{32,88}={0,2}$/;
/** What the broker or the connection sets; an endpoint's own headers cannot. */
const RESERVED_HEADER =
  /^(?:host|content-length|content-type|connection|expect|keep-alive|te|trailer|transfer-encoding|upgrade|traceparent|tracestate|proxy-.*|webhook-.*|pennypost-.*|cf-.*)$/;
const HEADER_VALUE = /^[\x20-\x7e]*$/;
const HEADER_VALUE_LENGTH = 4_096;

const endpointHeaders = z
  .record(z.string(), z.string().max(HEADER_VALUE_LENGTH))
  .default({})
  .superRefine((headers, context) => {
    const names = Object.keys(headers);
    if (names.length > limits.endpointHeaders) {
      const params = { limit: limits.endpointHeaders };
      context.addIssue({ code: "custom", message: `at most ${limits.endpointHeaders} headers`, params });
    }
    for (const header of names) {
      const fault = headerFault(header, headers[header] ?? "");
      if (fault) context.addIssue({ code: "custom", message: fault, path: [header] });
    }
  });

function headerFault(header: string, value: string): string | undefined {
  if (!HEADER_NAME.test(header)) return "this is no header's name";
  if (RESERVED_HEADER.test(header.toLowerCase())) return "this header is set by the broker";
  return HEADER_VALUE.test(value) ? undefined : "a header's value is printable ASCII";
}

export const signingSecret = z
  .string()
  .regex(SIGNING_SECRET, "`whsec_` and the base64 of 24 to 64 bytes are needed");

const schemes = z
  .array(z.enum(["v1", "v1a"]))
  .min(1)
  .refine((all) => new Set(all).size === all.length, "each at most once")
  .default(["v1"])
  .meta({
    description: "`v1` is HMAC-SHA256 under a shared secret, `v1a` is ed25519 under a key pair; or both.",
  });

const credential = z
  .string()
  .min(1)
  .max(limits.credentialLength)
  .regex(/^[\x21-\x7e]+$/, "printable ASCII without spaces is needed")
  .meta({ description: "Never shown." });
/** A password may be any text; only control characters are not Basic's. */
const password = z
  .string()
  .max(limits.credentialLength)
  .refine((text) => !/\p{Cc}/u.test(text), "no control characters")
  .meta({ description: "Never shown." });
const username = z
  .string()
  .max(limits.credentialNameLength)
  .refine((text) => !/[:\p{Cc}]/u.test(text), "no colon and no control characters");
const named = z
  .string()
  .min(1)
  .max(limits.credentialNameLength)
  .regex(/^[\x20-\x7e]+$/, "printable ASCII is needed");

/** What of a client may be shown. */
export const oauth2Shown = {
  type: z.literal("oauth2"),
  tokenUrl: z.string(),
  clientId: named,
  scope: named.optional(),
  audience: named.optional(),
};
const auth = z
  .discriminatedUnion("type", [
    z.strictObject({ type: z.literal("bearer"), token: credential }),
    z.strictObject({ type: z.literal("basic"), username, password }),
    z.strictObject({
      ...oauth2Shown,
      clientSecret: password.min(1),
      clientAuthentication: z.enum(["header", "body"]).default("header"),
    }),
  ])
  .meta({
    id: "EndpointAuth",
    description:
      "How requests show who sends them. `oauth2` is the client credentials grant (RFC 6749, 4.4).",
  });

export const endpoint = z.strictObject({
  url: z.string(),
  headers: endpointHeaders.meta({ description: "Sent with every request. Their values are never shown." }),
  timeoutMs: whole(limits.minTimeoutMs, limits.maxTimeoutMs).default(limits.defaultTimeoutMs),
  ...paceFields,
  signatures: schemes,
  signingSecret: signingSecret
    .optional()
    .meta({ description: "Of v1. Made by the broker unless given. Shown once, when it is made." }),
  auth: auth.optional(),
  format: z.enum(PUSH_FORMATS).default("raw").meta({
    description: "How a message stands in its request: as it was published, or as a CloudEvent.",
  }),
  verification: z.enum(VERIFICATION_CHOICES).optional().meta({
    description:
      "How the endpoint shows that it wants what it is sent, before it is sent anything; as the broker is configured unless given.",
  }),
});

export type EndpointFields = z.output<typeof endpoint>;

/** What this broker holds endpoints to. */
export type EndpointRules = UrlRules &
  Readonly<{
    /** Where it is not `none`, an endpoint cannot be left unverified. */
    verification?: VerificationChoice;
  }>;

/** What contradicts itself in an endpoint, or is not allowed here. */
export function endpointFaults(
  { url, headers, signatures, signingSecret, auth, verification }: EndpointFields,
  rules: EndpointRules,
): readonly FieldFault[] {
  const faults = [...urlFaults("endpoint.url", url, rules)];
  const names = Object.keys(headers).map((header) => header.toLowerCase());
  const twice = names.find((header, index) => names.indexOf(header) !== index);
  if (twice !== undefined) faults.push({ field: "endpoint.headers", detail: `${twice} is given twice` });
  if (signingSecret !== undefined && !signatures.includes("v1")) {
    faults.push({
      field: "endpoint.signingSecret",
      detail: "it is for v1, which endpoint.signatures has not",
    });
  }
  if (auth && names.includes("authorization")) {
    faults.push({ field: "endpoint.auth", detail: "endpoint.headers sets authorization as well" });
  }
  if (verification === "none" && (rules.verification ?? "none") !== "none") {
    const detail = "this broker has every endpoint verified: by handshake or challenge";
    faults.push({ field: "endpoint.verification", detail });
  }
  if (auth?.type === "oauth2") faults.push(...urlFaults("endpoint.auth.tokenUrl", auth.tokenUrl, rules));
  return faults;
}

function urlFaults(field: string, url: string, rules: UrlRules): readonly FieldFault[] {
  const refusal = checkEndpointUrl(url, { ...rules, field });
  if (refusal === undefined) return [];
  const { detail, limit } = refusal;
  return [{ field, detail, ...(limit !== undefined && { limit }) }];
}

/** What the settings hold of an endpoint; its secrets are plain until they are sealed. */
export function endpointSettings(
  fields: EndpointFields,
): Omit<PushSettings, "batchMaxMessages" | "batchMaxWaitMs"> {
  const { url, headers, timeoutMs, signatures, signingSecret, auth, format } = fields;
  const isDefault = signatures.length === 1 && signatures[0] === "v1";
  return {
    ...{ url, headers, timeoutMs },
    secrets: signingSecret === undefined ? [] : [signingSecret],
    ...(!isDefault && { signatures: signatures.toSorted() }),
    ...(format !== "raw" && { format }),
    ...(auth && { auth: authSettings(auth) }),
    ...paceSettings(fields),
  };
}

function authSettings(auth: NonNullable<EndpointFields["auth"]>): EndpointAuth {
  if (auth.type === "bearer") return { type: "bearer", secret: { plain: auth.token } };
  if (auth.type === "basic") {
    return { type: "basic", username: auth.username, secret: { plain: auth.password } };
  }
  const { tokenUrl, clientId, clientAuthentication, clientSecret, scope, audience } = auth;
  return {
    ...{ type: "oauth2", tokenUrl, clientId, clientAuthentication, secret: { plain: clientSecret } },
    ...(scope !== undefined && { scope }),
    ...(audience !== undefined && { audience }),
  };
}
