// A message as filters look at it. What they need of it is worked out once, however many of them look.

import { limits } from "../limits";
import type { Message } from "../message";
import { wordsOf } from "./subject-pattern";

export type Judged = Pick<Message, "subject" | "attributes" | "body" | "unmatched">;
/** The body as JSON, or why no filter of bodies matches it. */
export type Parsed = Readonly<{ ok: true; value: unknown } | { ok: false; reason: string }>;

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false });
const NOT_JSON: Parsed = { ok: false, reason: "it is not JSON" };
const TOO_LARGE: Parsed = {
  ok: false,
  reason: `it is longer than ${limits.filterBodyBytes} bytes, and is not looked at`,
};

export class Candidate {
  private parsed: Parsed | undefined;
  private split: readonly string[] | undefined;

  constructor(private readonly message: Judged) {}

  get subject(): string | undefined {
    return this.message.subject;
  }

  /** The words of the subject; none when there is no subject. */
  get words(): readonly string[] {
    this.split ??= this.subject === undefined ? [] : wordsOf(this.subject);
    return this.split;
  }

  get attributes(): Readonly<Record<string, string>> {
    return this.message.attributes ?? {};
  }

  get isUnmatched(): boolean {
    return this.message.unmatched === true;
  }

  get body(): Parsed {
    this.parsed ??= parseBody(this.message.body);
    return this.parsed;
  }
}

/** Whatever the content type says: many senders of JSON name none. */
function parseBody(body: Uint8Array): Parsed {
  if (body.byteLength > limits.filterBodyBytes) return TOO_LARGE;
  try {
    return { ok: true, value: JSON.parse(utf8.decode(body)) };
  } catch {
    return NOT_JSON;
  }
}
