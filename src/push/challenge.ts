// The challenge that verifies an endpoint: a request like any other, signed, whose 2xx must repeat a text that nobody can
// guess. A site that answers 200 to whatever it is sent does not, and one that only echoes its requests does not either.

import type { Grant } from "../endpoint-verification";
import { sameText } from "../same-text";
import type { HeaderList } from "./webhook-headers";

export const CHALLENGE_TYPE = "pennypost.verification";

export type Challenge = Readonly<{ text: string; topic: string; subscription: string; at: number }>;

/** So that a receiver can tell it from a message before it parses anything. */
export const CHALLENGE_HEADERS: HeaderList = {
  "content-type": "application/json",
  "pennypost-verification": "challenge",
};

/** The body, in the form that Standard Webhooks recommend. */
export function challengeBody({ text, topic, subscription, at }: Challenge): string {
  const timestamp = new Date(at).toISOString();
  return JSON.stringify({ type: CHALLENGE_TYPE, timestamp, data: { challenge: text, topic, subscription } });
}

/** What an answer to the challenge `text` grants: its body is the text, or JSON with the text as `challenge`. */
export function readChallenge(answer: Readonly<{ status: number; body: string }>, text: string): Grant {
  const { status, body } = answer;
  if (status < 200 || status >= 300)
    return { granted: false, reason: `it answered the challenge with ${status}` };
  if (sameText(repeated(body), text)) return { granted: true };
  return { granted: false, reason: "its answer does not repeat the challenge" };
}

function repeated(body: string): string {
  const text = body.trim();
  if (!text.startsWith("{")) return text;
  try {
    const { challenge } = JSON.parse(text) as Readonly<Record<string, unknown>>;
    return typeof challenge === "string" ? challenge : "";
  } catch {
    return "";
  }
}
