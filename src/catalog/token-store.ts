// Who may do what: bearer tokens by the SHA-256 of their text. The text itself is nowhere.

import { and, asc, eq, gt, isNotNull, isNull, lte, or, sql } from "drizzle-orm";
import { ok, type Result, refuse } from "../errors";
import type { TokenLimits } from "../limit-policy";
import { limits } from "../limits";
import type { Runtime } from "../runtime";
import { type Actor, type AuditNote, BROKER, changedFields, shownFields } from "./audit-details";
import { noteIfChanged } from "./audit-log-store";
import { forgetToken } from "./catalog-cache";
import { sameSettings, type Token } from "./catalog-entry";
import { tokens } from "./catalog-schema";
import {
  ask,
  asParameters,
  type Background,
  CachedReads,
  type CatalogDatabase,
  cacheOf,
  openCatalog,
} from "./d1-store";

// Everything but the hashes.
const { id, name, scopes, createdAt, expiresAt, lastUsedAt, previousUntil, limits: held } = tokens;
const shown = { id, name, scopes, createdAt, expiresAt, lastUsedAt, previousUntil, limits: held };
type Row = Omit<Token, "limits"> & Readonly<{ limits: TokenLimits | null }>;

export class TokenStore {
  private readonly db: CatalogDatabase;
  private readonly reads: CachedReads;

  constructor(
    d1: D1Database,
    private readonly runtime: Runtime,
    private readonly background: Background,
  ) {
    this.db = openCatalog(d1);
    this.reads = new CachedReads(cacheOf(d1), runtime, background);
  }

  /** Writes a token down. `hash` is the SHA-256 of its text, in lower-case hex. Refused when there are too many. */
  async insert(
    token: Readonly<{
      id: string;
      name: string;
      hash: string;
      scopes: readonly string[];
      expiresAt: number | null;
      limits?: TokenLimits | null;
    }>,
    by: Actor = BROKER,
  ): Promise<Result<Token>> {
    const { hash, limits: wanted = null, ...rest } = token;
    const life = { createdAt: this.runtime.now(), lastUsedAt: null, previousUntil: null };
    const row = { ...rest, ...life, limits: wanted };
    // One statement: two that come at once cannot pass the cap between count and insert.
    const held = sql`(SELECT count(*) FROM ${tokens})`;
    const values = asParameters(tokens, { ...row, hash, previousHash: null, limits: wanted ?? sql`NULL` });
    const insert = this.db
      .insert(tokens)
      .select(sql`SELECT ${values} WHERE ${held} < ${limits.tokens}`)
      .returning({ id: tokens.id });
    const { name, scopes, expiresAt } = token;
    const note = this.note(by, "create", token.id, shownFields({ name, scopes, expiresAt, ...wanted }));
    const [inserted] = await ask(this.db.batch([insert, note]));
    if (inserted.length > 0) return ok(toToken(row));
    return refuse("conflict", `There are at most ${limits.tokens} tokens.`, { limit: limits.tokens });
  }

  /** Tokens by id, which is the order they were made in. By the primary key. */
  async list({ after = "", limit }: { after?: string; limit: number }): Promise<readonly Token[]> {
    const page = this.db.select(shown).from(tokens).where(gt(tokens.id, after));
    return (await ask(page.orderBy(asc(tokens.id)).limit(limit))).map(toToken);
  }

  /** The token of an id, straight from D1. By the primary key. */
  async get(tokenId: string): Promise<Result<Token>> {
    const row = await ask(this.db.select(shown).from(tokens).where(eq(tokens.id, tokenId)).get());
    return row ? ok(toToken(row)) : tokenNotFound();
  }

  /** The live token of an id, straight from D1; an absent and an expired one are `unauthenticated`. By the primary key. */
  async live(tokenId: string): Promise<Result<Token>> {
    const found = await this.get(tokenId);
    if (found.ok && !isOver(found.value, this.runtime.now())) return found;
    return noSuchBearer();
  }

  /** Holds a token to these limits and to no others; null: to none. Other isolates learn it as they do of a deletion. */
  async limit(tokenId: string, wanted: TokenLimits | null, by: Actor = BROKER): Promise<Result<Token>> {
    const found = await this.get(tokenId);
    if (!found.ok || sameSettings(found.value.limits ?? null, wanted)) return found;
    const details = changedFields(found.value.limits ?? {}, wanted ?? {});
    const update = this.db
      .update(tokens)
      .set({ limits: wanted })
      .where(eq(tokens.id, tokenId))
      .returning(shown);
    const [[row]] = await ask(this.db.batch([update, this.note(by, "change", tokenId, details)]));
    forgetToken(this.reads.cache, tokenId);
    return row ? ok(toToken(row)) : tokenNotFound();
  }

  /** Deletes a token. Other isolates serve it for catalogRefreshMs more, or catalogStaleMs while D1 is away. */
  async delete(tokenId: string, by: Actor = BROKER): Promise<Result<null>> {
    const deletion = this.db.delete(tokens).where(eq(tokens.id, tokenId)).returning({ id: tokens.id });
    const [rows] = await ask(this.db.batch([deletion, this.note(by, "delete", tokenId)]));
    forgetToken(this.reads.cache, tokenId);
    return rows.length > 0 ? ok(null) : tokenNotFound();
  }

  /**
   * Gives a token another secret. The one of before is honoured for `overlapMs` more, and no older one. While such an
   * overlap is under way only 0 is taken, which ends both former secrets: so a request that comes twice changes nothing
   * the second time. What other isolates still serve is as with delete.
   */
  async rotate(
    tokenId: string,
    { hash, overlapMs }: Readonly<{ hash: string; overlapMs: number }>,
    by: Actor = BROKER,
  ): Promise<Result<Token>> {
    const now = this.runtime.now();
    const free = or(isNull(previousUntil), lte(previousUntil, now));
    const rotatable = and(
      eq(tokens.id, tokenId),
      or(isNull(expiresAt), gt(expiresAt, now)),
      overlapMs === 0 ? undefined : free,
    );
    const set = { previousHash: sql`${tokens.hash}`, hash, previousUntil: now + overlapMs };
    const update = this.db.update(tokens).set(set).where(rotatable).returning(shown);
    const [[row]] = await ask(this.db.batch([update, this.note(by, "rotate", tokenId, { overlapMs })]));
    forgetToken(this.reads.cache, tokenId);
    return row ? ok(toToken(row)) : this.unrotated(tokenId, now);
  }

  private async unrotated(tokenId: string, now: number): Promise<Result<Token>> {
    const held = await ask(this.db.select(shown).from(tokens).where(eq(tokens.id, tokenId)).get());
    if (!held) return tokenNotFound();
    if (held.expiresAt !== null && held.expiresAt <= now) {
      return refuse("conflict", "The token has expired: make another.");
    }
    return refuse(
      "conflict",
      "Its former secret is still honoured. Wait, or rotate with overlapMs 0, which ends both at once.",
      { field: "overlapMs", limit: 0, retryAfterMs: Math.max(0, (held.previousUntil ?? now) - now) },
    );
  }

  /**
   * The live token of a hash. Unknown and expired ones are `unauthenticated`; while D1 is away an unknown
   * one is `unavailable`, because nobody can tell. By tokens_by_hash and tokens_by_previous_hash.
   */
  async find(hash: string): Promise<Result<Token>> {
    const found = await this.reads.get(this.reads.cache.tokens, hash, () => this.read(hash));
    if (!found.ok) return found;
    const token = found.value;
    const now = this.runtime.now();
    if (!token || isOver(token, now)) return noSuchBearer();
    this.noteUse(token, hash, now);
    return ok(token);
  }

  /** The token of a hash; known by its former secret, it expires when that does. */
  private async read(hash: string): Promise<Token | undefined> {
    const known = or(
      eq(tokens.hash, hash),
      and(isNotNull(tokens.previousHash), eq(tokens.previousHash, hash)),
    );
    const row = await ask(
      this.db
        .select({ ...shown, current: tokens.hash })
        .from(tokens)
        .where(known)
        .get(),
    );
    if (!row) return undefined;
    const { current, ...rest } = row;
    const token = toToken(rest);
    if (current === hash) return token;
    const until = token.previousUntil ?? 0;
    return { ...token, expiresAt: Math.min(until, token.expiresAt ?? until) };
  }

  /** Writes the last use down behind the request. A note that fails is lost: it is for people, not for rules. */
  private noteUse(token: Token, hash: string, now: number): void {
    if (token.lastUsedAt !== null && now - token.lastUsedAt < limits.tokenUsedEveryMs) return;
    const kept = this.reads.cache.tokens.get(hash);
    if (kept) kept.value = { ...token, lastUsedAt: now };
    const due = or(isNull(tokens.lastUsedAt), lte(tokens.lastUsedAt, now - limits.tokenUsedEveryMs));
    const note = this.db
      .update(tokens)
      .set({ lastUsedAt: now })
      .where(and(eq(tokens.id, token.id), due));
    this.background(ask(note).catch(() => undefined));
  }

  /** Removes tokens that expired long ago, and the hashes of former secrets; says how many. By their partial indexes. */
  async purge(): Promise<number> {
    const now = this.runtime.now();
    const expired = and(isNotNull(expiresAt), lte(expiresAt, now - limits.expiredTokenKeptMs));
    const over = and(isNotNull(tokens.previousHash), lte(previousUntil, now));
    const gone = this.db.delete(tokens).where(expired).returning({ id: tokens.id });
    const none = { previousHash: null, previousUntil: null };
    const ended = this.db.update(tokens).set(none).where(over).returning({ id: tokens.id });
    return (await ask(this.db.batch([gone, ended]))).flat().length;
  }

  private note(by: Actor, action: string, tokenId: string, details: AuditNote["details"] = {}) {
    const note = { by, action, resource: `tokens/${tokenId}`, details };
    return noteIfChanged(this.db, note, this.runtime.now());
  }
}

function toToken({ limits: held, ...token }: Row): Token {
  return held === null ? token : { ...token, limits: held };
}

function tokenNotFound() {
  return refuse("token-not-found", "There is no such token.");
}

function isOver({ expiresAt }: Token, now: number): boolean {
  return expiresAt !== null && expiresAt <= now;
}

function noSuchBearer() {
  return refuse("unauthenticated", "The token is unknown or has expired.");
}
