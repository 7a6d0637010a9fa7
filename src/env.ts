// The bindings, and settings(): every variable parsed, bounded and defaulted, once.

import type { CapacityCalls } from "./capacity-calls";
import { VERIFICATION_CHOICES, type VerificationChoice } from "./endpoint-verification";
import type { LimiterCalls } from "./limiter-calls";
import type { ReplyCalls } from "./reply-calls";
import type { SubscriptionCalls } from "./subscription-calls";
import type { TopicCalls } from "./topic-calls";

/** A namespace of objects that answer the calls `C`, by name. */
export interface ObjectNamespace<C> {
  getByName(name: string): C;
}

export interface Env {
  INGRESS: Queue<ArrayBuffer | Uint8Array>;
  TOPIC: ObjectNamespace<TopicCalls>;
  SUBSCRIPTION: ObjectNamespace<SubscriptionCalls>;
  /** One for each token and topic that has limits. */
  LIMITER: ObjectNamespace<LimiterCalls>;
  REPLY: ObjectNamespace<ReplyCalls>;
  /** One for each push subscription of several partitions whose endpoint has limits. */
  CAPACITY: ObjectNamespace<CapacityCalls>;
  CATALOG: D1Database;
  LEDGER: D1Database;
  /** A secret. Without it a deployed broker refuses everything. */
  ROOT_TOKEN?: string;
  /** A secret: what the secrets of endpoints are sealed under. Without it nothing can be pushed. */
  SECRETS_KEY?: string;
  /** While SECRETS_KEY is exchanged: those of before, separated by commas. They open, and seal nothing. */
  SECRETS_KEY_OLD?: string;
  /** `local` allows http and loopback endpoints; anything else is a deployment. */
  ENVIRONMENT?: string;
  /** `off` silences the wide log lines. */
  LOG?: string;
  /** The hosts that lead to this broker, with commas between: no endpoint may be one of them. */
  OWN_HOSTS?: string;
  /** How endpoints are verified unless their subscription says; only with `none` may that say `none`. */
  ENDPOINT_VERIFICATION?: string;
}

export type Settings = Readonly<{
  local: boolean;
  log: boolean;
  rootToken: string | undefined;
  /** What seals, then what only opens. Empty while SECRETS_KEY is not set. */
  secretsKeys: readonly string[];
  ownHosts: readonly string[];
  /** With `none`, a subscription chooses; else it may choose another way, but not none. */
  verification: VerificationChoice;
}>;

const MIN_ROOT_TOKEN_LENGTH = 16;
/** As much as 24 random bytes are in base64. */
const MIN_SECRETS_KEY_LENGTH = 32;
const OWN_HOST = /^(?:\*\.)?[a-z0-9-]+(?:\.[a-z0-9-]+)+$/;

/** Parses the variables. Throws, naming every fault together, when one is out of its bounds. */
export function settings(env: Env): Settings {
  const faults: string[] = [];
  const { ENVIRONMENT = "production", LOG = "on", ROOT_TOKEN } = env;
  const secretsKeys = secretsKeysOf(env);
  const ownHosts = listed(env.OWN_HOSTS?.toLowerCase());
  if (!["local", "production"].includes(ENVIRONMENT)) faults.push("ENVIRONMENT is 'local' or 'production'");
  if (!["on", "off"].includes(LOG)) faults.push("LOG is 'on' or 'off'");
  if (ROOT_TOKEN !== undefined && ROOT_TOKEN.length < MIN_ROOT_TOKEN_LENGTH) {
    faults.push(`ROOT_TOKEN has at least ${MIN_ROOT_TOKEN_LENGTH} characters`);
  }
  if (secretsKeys.some((key) => key.length < MIN_SECRETS_KEY_LENGTH)) {
    faults.push(
      `SECRETS_KEY, and each of SECRETS_KEY_OLD, has at least ${MIN_SECRETS_KEY_LENGTH} characters`,
    );
  }
  if (!ownHosts.every((host) => OWN_HOST.test(host))) {
    faults.push("OWN_HOSTS is hosts like broker.example.com or *.example.com, with commas between");
  }
  const isLocal = ENVIRONMENT === "local";
  const said = env.ENDPOINT_VERIFICATION ?? (isLocal ? "none" : "challenge");
  const verification = VERIFICATION_CHOICES.find((choice) => choice === said) ?? "challenge";
  if (verification !== said) faults.push("ENDPOINT_VERIFICATION is 'challenge', 'handshake' or 'none'");
  if (faults.length > 0) throw new Error(`settings: ${faults.join("; ")}`);
  const secrets = { rootToken: ROOT_TOKEN, secretsKeys };
  return { local: isLocal, log: LOG === "on", ...secrets, ownHosts, verification };
}

/** Old keys alone are none: what cannot be sealed is refused, and says what to set. */
function secretsKeysOf({ SECRETS_KEY, SECRETS_KEY_OLD }: Env): readonly string[] {
  if (SECRETS_KEY === undefined || SECRETS_KEY === "") return [];
  return [SECRETS_KEY, ...listed(SECRETS_KEY_OLD)];
}

/** The parts of a variable with commas between. */
function listed(text = ""): readonly string[] {
  return text
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "");
}
