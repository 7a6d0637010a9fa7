// The public keys that an isolate remembers, so that whoever asks for them again and again costs no question to D1. Names that
// nobody has are remembered too, apart: however many are made up, they push out no keys, and fill no memory. Pure.

import type { SigningKey } from "../endpoint-secrets";
import { limits } from "../limits";

/** What of a signing key anybody may know. */
export type PublicKey = Pick<SigningKey, "scheme" | "publicKey" | "expiresAt">;
type Kept = Readonly<{ keys: readonly PublicKey[]; readAt: number }>;

export class KeyShelf {
  private readonly known = new Map<string, Kept>();
  private readonly unknown = new Map<string, Kept>();

  /** The keys under `name` as they were read a while ago: none when nobody has that name. Undefined: D1 is to be asked. */
  fresh(name: string, now: number): readonly PublicKey[] | undefined {
    const kept = this.known.get(name);
    if (kept && now - kept.readAt < limits.keySetFreshMs) return kept.keys;
    const missed = this.unknown.get(name);
    return missed && now - missed.readAt < limits.noKeySetFreshMs ? [] : undefined;
  }

  /** The keys under `name` as they may be told while D1 cannot be asked. */
  stale(name: string, now: number): readonly PublicKey[] | undefined {
    const kept = this.known.get(name);
    return kept && now - kept.readAt < limits.catalogStaleMs ? kept.keys : undefined;
  }

  /** Keeps what a read that began at `readAt` found; the oldest are forgotten for it. */
  keep(name: string, keys: readonly PublicKey[], readAt: number): void {
    this.known.delete(name);
    this.unknown.delete(name);
    const shelf = keys.length > 0 ? this.known : this.unknown;
    shelf.set(name, { keys, readAt });
    const [oldest] = shelf.keys();
    if (shelf.size > limits.keySetsKept && oldest !== undefined) shelf.delete(oldest);
  }

  get size(): number {
    return this.known.size + this.unknown.size;
  }
}
