// Access tokens for endpoints, remembered by the isolate until shortly before they expire. Of all dispatches of an isolate
// one asks at a time, and the others look whether it was answered: one request's promise cannot be another's to wait for.

import { checkEndpointUrl } from "../endpoint-url";
import { limits } from "../limits";
import { type AccessToken, type Oauth2, tokenGranted, tokenRefusal, tokenRequest } from "./oauth";
import { readText, type Wire } from "./webhook";

/** A token, or why there is none and how long nobody asks for one. */
export type TokenAnswer = Readonly<
  { ok: true; token: string } | { ok: false; reason: string; waitMs: number }
>;
export type TokenWire = Wire &
  Readonly<{ local: boolean; ownHosts?: readonly string[]; sleep(ms: number): Promise<void> }>;

/** `awayMs` is how long it was left alone last, while it grants none. */
type Held =
  | Readonly<{ state: "asking"; until: number; awayMs: number }>
  | Readonly<{ state: "granted"; token: string; until: number }>
  | Readonly<{ state: "away"; reason: string; until: number; awayMs: number }>;

/** One that asks longer than its request may last has died. */
const OTHER_ASKS_MS = 2 * limits.tokenTimeoutMs;

/** By subscription, with the settings of its client. */
const held = new Map<string, Held>();

export class AccessTokenStore {
  private readonly name: string;

  constructor(
    private readonly wire: TokenWire,
    subscription: string,
    private readonly auth: Oauth2,
    private readonly clientSecret: () => Promise<string>,
  ) {
    this.name = JSON.stringify([subscription, auth]);
  }

  /** A token that is good for a request now. `refused` is one that the endpoint did not take: it is not given again. */
  async token(refused?: string): Promise<TokenAnswer> {
    for (;;) {
      const known = this.known();
      if (known?.state === "granted" && known.token !== refused) return { ok: true, token: known.token };
      if (known?.state === "away") return unhad(known.reason, known.until - this.wire.runtime.now());
      if (known?.state !== "asking") return this.ask();
      await this.wire.sleep(limits.tokenLookMs);
    }
  }

  private known(): Held | undefined {
    const known = held.get(this.name);
    return known !== undefined && this.wire.runtime.now() < known.until ? known : undefined;
  }

  private async ask(): Promise<TokenAnswer> {
    const before = held.get(this.name);
    const lastMs = before && "awayMs" in before ? before.awayMs : 0;
    const until = this.wire.runtime.now() + OTHER_ASKS_MS;
    this.remember({ state: "asking", until, awayMs: lastMs });
    const granted = await this.request().catch(() => "it did not answer");
    const now = this.wire.runtime.now();
    if (typeof granted === "string") {
      const reason = `no access token from the token URL: ${granted}`;
      const awayMs = Math.min(Math.max(limits.tokenAwayMs, 2 * lastMs), limits.tokenAwayMostMs);
      this.remember({ state: "away", reason, until: now + awayMs, awayMs });
      return unhad(reason, awayMs);
    }
    const { text: token, lifeMs } = granted;
    // One that lives no longer than the margin is good for this request, and for no other.
    this.remember({ state: "granted", token, until: now + lifeMs - limits.tokenMarginMs });
    return { ok: true, token };
  }

  /** The token, or why there is none. */
  private async request(): Promise<AccessToken | string> {
    const { auth, wire } = this;
    const refusal = checkEndpointUrl(auth.tokenUrl, wire);
    if (refusal) return refusal.detail;
    const response = await wire.fetch(auth.tokenUrl, {
      method: "POST",
      ...tokenRequest(auth, await this.clientSecret()),
      redirect: "manual",
      signal: wire.timeout(limits.tokenTimeoutMs),
    });
    const { text, whole } = await readText(response, limits.tokenAnswerBytes);
    const token = response.ok && whole ? tokenGranted(text) : undefined;
    return token ?? tokenRefusal(response.status, text);
  }

  private remember(what: Held): void {
    if (held.size >= limits.accessTokensKept) held.clear();
    held.set(this.name, what);
  }
}

function unhad(reason: string, waitMs: number): TokenAnswer {
  return { ok: false, reason, waitMs };
}
