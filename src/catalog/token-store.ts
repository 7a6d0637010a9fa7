// Who may do what: bearer tokens by the SHA-256 of their text. The text itself is nowhere.

import { and, asc, eq, gt, isNull, lte, or } from "drizzle-orm";
import { ok, type Result, refuse } from "../errors";
import { limits } from "../limits";
import type { Runtime } from "../runtime";
import type { Token } from "./catalog-entry";
import { tokens } from "./catalog-schema";
import { ask, type Background, CachedReads, type CatalogDatabase, cacheOf, openCatalog } from "./d1-store";

// Everything but the hash.
const { id, name, scopes, createdAt, expiresAt, lastUsedAt } = tokens;
const shown = { id, name, scopes, createdAt, expiresAt, lastUsedAt };

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

  /** Writes a token down. `hash` is the SHA-256 of its text, in lower-case hex. */
  async insert(
    token: Readonly<{
      id: string;
      name: string;
      hash: string;
      scopes: readonly string[];
      expiresAt: number | null;
    }>,
  ): Promise<Token> {
    const { hash, ...rest } = token;
    const row = { ...rest, createdAt: this.runtime.now(), lastUsedAt: null };
    await ask(this.db.insert(tokens).values({ ...row, hash }));
    return row;
  }

  /** Tokens by id, which is the order they were made in. By the primary key. */
  async list({ after = "", limit }: { after?: string; limit: number }): Promise<readonly Token[]> {
    const page = this.db.select(shown).from(tokens).where(gt(tokens.id, after));
    return ask(page.orderBy(asc(tokens.id)).limit(limit));
  }

  /** Deletes a token. Other isolates serve it for catalogRefreshMs more, or catalogStaleMs while D1 is away. */
  async delete(tokenId: string): Promise<Result<null>> {
    const rows = await ask(
      this.db.delete(tokens).where(eq(tokens.id, tokenId)).returning({ hash: tokens.hash }),
    );
    const cache = this.reads.cache;
    cache.epoch += 1;
    for (const { hash } of rows) cache.tokens.delete(hash);
    return rows.length > 0 ? ok(null) : refuse("token-not-found", "There is no such token.");
  }

  /**
   * The live token of a hash. Unknown and expired ones are `unauthenticated`; while D1 is away an unknown
   * one is `unavailable`, because nobody can tell. By tokens_by_hash.
   */
  async find(hash: string): Promise<Result<Token>> {
    const read = () => ask(this.db.select(shown).from(tokens).where(eq(tokens.hash, hash)).get());
    const found = await this.reads.get(this.reads.cache.tokens, hash, read);
    if (!found.ok) return found;
    const token = found.value;
    const now = this.runtime.now();
    if (!token || (token.expiresAt !== null && token.expiresAt <= now)) {
      return refuse("unauthenticated", "The token is unknown or has expired.");
    }
    this.noteUse(token, hash, now);
    return ok(token);
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
}
