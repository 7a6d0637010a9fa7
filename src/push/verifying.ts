// One try at having an endpoint verified. It is held to the rules of every request: the URL is judged again, redirects are
// not followed, the time and the answer are bounded; and whatever goes wrong is an answer.

import { checkEndpointUrl } from "../endpoint-url";
import type { Grant, Verification } from "../endpoint-verification";
import { limits } from "../limits";
import type { PushSettings, SubscriptionSettings } from "../settings";
import type { TokenWire } from "./access-token-store";
import { CHALLENGE_HEADERS, challengeBody, readChallenge } from "./challenge";
import { openCredentials } from "./credentials";
import { handshakeHeaders, handshakeOf, readHandshake } from "./handshake";
import { sign } from "./signature";
import { describeFault, readText } from "./webhook";
import { withEndpointHeaders } from "./webhook-headers";

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

/** Like a delivery: signed, and let in as every delivery is. */
async function challenge(asked: Asked, world: Verifying, signal: () => AbortSignal): Promise<Grant> {
  const { topic, subscription } = asked;
  const opened = await openCredentials(world, world.secretsKeys, asked);
  if ("unusable" in opened) return refused(opened.reason);
  const token = await opened.tokens?.token();
  if (token && !token.ok) return refused(token.reason);
  const [id, at, text] = [world.runtime.newId(), world.runtime.now(), world.newChallenge()];
  const timestamp = Math.floor(at / 1000);
  const body = new TextEncoder().encode(challengeBody({ text, topic, subscription, at }));
  const signature = await sign(opened.keys, { id, timestamp, body });
  const own = { ...opened.push.headers, ...(token?.ok && { authorization: `Bearer ${token.token}` }) };
  const response = await world.fetch(asked.push.url, {
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
  const { text: answer } = await readText(response, limits.verifyAnswerBytes);
  return readChallenge({ status: response.status, body: answer }, text);
}

function refused(reason: string): Grant {
  return { granted: false, reason };
}
