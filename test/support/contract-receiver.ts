// A webhook receiver as the contract's tests see it, whatever stands behind it: a server, or a fetch that is
// answered on the spot.

export type Hook = Readonly<{ headers: Headers; body: Uint8Array; text: string }>;
export type HookAnswer = Readonly<{
  status: number;
  headers?: Readonly<Record<string, string>>;
  body?: string;
}>;
export type Answering = (hook: Hook, index: number) => HookAnswer | Promise<HookAnswer>;

export type Receiver = Readonly<{
  url: string;
  /** Every request so far, in the order they came. */
  hooks: readonly Hook[];
  /** Resolves with the first `count` requests once they have come. */
  first(count: number): Promise<readonly Hook[]>;
  /** How requests are answered from now on; 204 until it is said. */
  answer(how: Answering): void;
  /** Every handshake and challenge so far; they are no hooks. */
  readonly verifications: readonly Hook[];
  /** How handshakes and challenges are answered from now on; granted until it is said. */
  verify(how: Answering): void;
  /** Takes one request and answers it: for whatever stands behind. */
  take(headers: Headers, body: Uint8Array, method?: string): Promise<HookAnswer>;
}>;

/** Tells whoever waits that there is one more. A ring that nobody waits for is kept. */
export type Bell = Readonly<{ ring(): Promise<void> | void; wait(): Promise<void> }>;

/** A receiver at `url`. */
export function receiverAt(url: string, bell: Bell): Receiver {
  const hooks: Hook[] = [];
  const verifications: Hook[] = [];
  let answering: Answering = () => ({ status: 204 });
  let verifying: Answering = grant;
  return {
    url,
    hooks,
    first: async (count) => {
      while (hooks.length < count) await bell.wait();
      return hooks.slice(0, count);
    },
    answer: (how) => {
      answering = how;
    },
    verifications,
    verify: (how) => {
      verifying = how;
    },
    take: async (headers, body, method = "POST") => {
      if (method === "OPTIONS" || headers.has("pennypost-verification")) {
        const hook = { headers, body, text: new TextDecoder().decode(body) };
        return verifying(hook, verifications.push(hook) - 1);
      }
      const index = hooks.push({ headers, body, text: new TextDecoder().decode(body) }) - 1;
      await bell.ring();
      return answering(hooks[index] as Hook, index);
    },
  };
}

/** Says yes to whoever asks: a broker may have every endpoint verified. */
export function grant({ headers, text }: Hook): HookAnswer {
  const origin = headers.get("webhook-request-origin");
  if (headers.has("pennypost-verification")) return { status: 200, body: challengeOf(text) };
  return { status: 200, headers: { "webhook-allowed-origin": origin ?? "*", "webhook-allowed-rate": "*" } };
}

/** The challenge in the body of a request. */
export function challengeOf(text: string): string {
  return (JSON.parse(text) as { data: { challenge: string } }).data.challenge;
}
