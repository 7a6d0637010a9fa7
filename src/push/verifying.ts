// One try at having an endpoint verified. It is held to the rules of every request: the URL is judged again, redirects are
// not followed, the time and the answer are bounded; and whatever goes wrong is an answer.

import { checkEndpointUrl } from "../endpoint-url";
import type { Grant, Verification } from "../endpoint-verification";
import { limits } from "../limits";
import type { PushSettings, SubscriptionSettings } from "../settings";
import type { TokenWire } from "./access-token-store";
import { CHALLENGE_HEADERS, challengeBody, readChallenge } from "./challenge";
import { type Credentials, openCredentials } from "./credentials";
import { handshakeHeaders, handshakeOf, readHandshake } from "./handshake";
import { sign } from "./signature";
import { describeFault, readText } from "./webhook";
import { withEndpointHeaders } from "./webhook-headers";

/** Answers of who lets nobody in without a token. */
const WANTS_TOKEN: ReadonlySet<number> = new Set([401, 403]);

/** What a try needs of the world. */
export type Verifying = TokenWire &
  Readonly<{
    secretsKeys: readonly string[];
    /** A text that nobody can guess, another for each try. */
    newChallenge(): string;
    /** The URL by which a handshake may be granted later; undefined when none can be made. */
    callbackFor(asked: Asked): Promise<string | undefined>;
  }>;

export type Asked = Readonly<{
  topic: string;
  subscription: string;
  generation: string;
  settings: SubscriptionSettings;
  push: PushSettings;
  verification: Verification;
}>;

/** Asks the endpoint, once. Never throws for its faults. */
export async function askEndpoint(asked: Asked, world: Verifying): Promise<Grant> {
  const refusal = checkEndpointUrl(asked.push.url, world);
  if (refusal) return refused(refusal.detail);
  const timeoutMs = Math.min(asked.push.timeoutMs, limits.verifyTimeoutMs);
  try {
    const signal = () => world.timeout(timeoutMs);
    return await (asked.verification.by === "handshake"
      ? shakeHands(asked, world, signal)
      : challenge(asked, world, signal));
  } catch (fault) {
    return refused(describeFault(fault, { timeoutMs }));
  }
}

/** Like a browser's preflight: without the endpoint's own headers and credentials. */
async function shakeHands(asked: Asked, world: Verifying, signal: () => AbortSignal): Promise<Grant> {
  const { push, verification } = asked;
  const handshake = handshakeOf(verification.base, push.rate, await world.callbackFor(asked));
  const response = await world.fetch(push.url, {
    method: "OPTIONS",
    headers: handshakeHeaders(handshake),
    redirect: "manual",
    signal: signal(),
  });
  await readText(response, limits.verifyAnswerBytes);
  return readHandshake(response, handshake);
}

/**
 * Like a delivery: signed, and let in as every delivery is. But for an access token nobody is asked who says yes without one, or
 * does not say that it wants one: the token URL is a third party's, and nobody has agreed to anything yet.
 */
async function challenge(asked: Asked, world: Verifying, signal: () => AbortSignal): Promise<Grant> {
  const opened = await openCredentials(world, world.secretsKeys, asked);
  if ("unusable" in opened) return refused(opened.reason);
  const first = await challengeOnce(asked, world, opened, { signal });
  if (!opened.tokens || !WANTS_TOKEN.has(first.status)) return first.grant;
  const token = await opened.tokens.token();
  if (!token.ok) return refused(token.reason);
  return (await challengeOnce(asked, world, opened, { signal, token: token.token })).grant;
}

async function challengeOnce(
  { topic, subscription, push: { url } }: Asked,
  world: Verifying,
  { keys, push }: Credentials,
  { signal, token }: Readonly<{ signal: () => AbortSignal; token?: string }>,
): Promise<Readonly<{ status: number; grant: Grant }>> {
  const [id, at, text] = [world.runtime.newId(), world.runtime.now(), world.newChallenge()];
  const timestamp = Math.floor(at / 1000);
  const body = new TextEncoder().encode(challengeBody({ text, topic, subscription, at }));
  const signature = await sign(keys, { id, timestamp, body });
  const own = { ...push.headers, ...(token !== undefined && { authorization: `Bearer ${token}` }) };
  const response = await world.fetch(url, {
    method: "POST",
    headers: {
      ...withEndpointHeaders({}, own),
      ...CHALLENGE_HEADERS,
      "webhook-id": id,
      "webhook-timestamp": String(timestamp),
      ...(signature !== "" && { "webhook-signature": signature }),
    },
    body,
    redirect: "manual",
    signal: signal(),
  });
  const { status } = response;
  const { text: answer } = await readText(response, limits.verifyAnswerBytes);
  return { status, grant: readChallenge({ status, body: answer }, text) };
}

function refused(reason: string): Grant {
  return { granted: false, reason };
}
