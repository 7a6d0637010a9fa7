// The verification of endpoints as the API takes and shows it.

import { z } from "zod";
import {
  newVerification,
  stateOf,
  VERIFICATION_WAYS,
  type Verification,
  type VerificationChoice,
} from "../endpoint-verification";
import type { SubscriptionSettings } from "../settings";
import type { Broker } from "./broker";
import { instant } from "./schemas";

type Asking = Readonly<{ endpoint?: { verification?: VerificationChoice | undefined } | undefined }>;

/** `settings` with what the body asks of its endpoint, else the broker. Merging keeps what is verified already. */
export function withVerification(
  broker: Broker,
  request: Request,
  { endpoint }: Asking,
  settings: SubscriptionSettings,
): SubscriptionSettings {
  const by = endpoint?.verification ?? broker.verification;
  if (!settings.push || by === "none") return settings;
  const verification = newVerification(by, baseOf(broker, request), broker.runtime.now());
  return { ...settings, push: { ...settings.push, verification } };
}

/** How the broker calls itself to endpoints: by its first configured host, else by the one that the request came to. */
function baseOf({ ownHosts, local }: Broker, { url }: Request): string {
  const own = ownHosts.find((host) => !host.startsWith("*."));
  return own === undefined || local ? new URL(url).origin : `https://${own}`;
}

export const verificationView = z
  .object({
    by: z.enum(VERIFICATION_WAYS),
    state: z.enum(["unverified", "verified", "given-up"]).meta({
      description:
        "Only a verified endpoint is sent messages. given-up: it is asked again when you ask for it.",
    }),
    since: instant.meta({ description: "When its URL was set." }),
    tries: z.int(),
    triedAt: instant.optional(),
    nextTryAt: instant.optional(),
    reason: z.string().optional().meta({ description: "What the last answer lacked." }),
    verifiedAt: instant.optional(),
    allowedPerMinute: z.int().optional().meta({
      description: "Requests a minute that the endpoint allows; the lower of this and rateLimit holds.",
    }),
  })
  .meta({ id: "EndpointVerification" });

export function showVerification(verification: Verification): z.output<typeof verificationView> {
  const { base: _, askedAt: __, ...shown } = verification;
  return { ...shown, state: stateOf(verification) };
}
