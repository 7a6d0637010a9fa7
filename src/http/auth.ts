// Who makes a request: the holder of the root token, or of one that the catalog keeps the SHA-256 of. Nobody is
// told whether a name exists before this has passed.

import { type Admission, admissionOf } from "../admission-calls";
import { CatalogFault } from "../catalog/catalog-store";
import { ok, type Refused, type Result, refuse } from "../errors";
import type { Broker } from "./broker";
import { onlyPublishesTo, type Principal, parseScope, rootPrincipal } from "./scope";
import { readTicket } from "./ticket";
import { mayBeToken, TOKEN_SECRET_BYTES, tokenText } from "./token-text";

/** Far above any token of ours: what is longer is not worth hashing. */
const TOKEN_LENGTH_LIMIT = 512;
const BEARER = /^bearer +([\x21-\x7e]+) *$/i;
const utf8 = new TextEncoder();

/** The principal of an `Authorization: Bearer` header. */
export async function authenticate(broker: Broker, authorization: string | null): Promise<Result<Principal>> {
  const token = authorization === null ? undefined : BEARER.exec(authorization)?.[1];
  if (token === undefined) {
    return refuse("unauthenticated", "Send the header `Authorization: Bearer <token>`.");
  }
  if (token.length > TOKEN_LENGTH_LIMIT) return unknown();
  const digest = await sha256(utf8.encode(token));
  if (await isRoot(broker, digest)) return ok(rootPrincipal);
  return mayBeToken(token) ? find(broker, digest) : unknown();
}

/** The topic that a token in a URL publishes to. The root token is not for URLs, which are logged. */
export async function authenticateInbound(
  broker: Broker,
  token: string,
): Promise<Result<{ principal: Principal; topic: string }>> {
  if (!mayBeToken(token)) return unknown();
  const found = await find(broker, await sha256(utf8.encode(token)));
  if (!found.ok) return found;
  const topic = onlyPublishesTo(found.value);
  if (topic !== undefined) return ok({ principal: found.value, topic });
  return refuse("forbidden", "A token in a URL has one scope: to publish to exactly one topic.");
}

/** Who listens with a ticket: it may read live right below the path that it was made for, and do nothing else. */
export async function authenticateTicket(
  broker: Broker,
  text: string,
  request: Request,
): Promise<Result<Principal>> {
  const ticket = await readTicket(text, broker.rootToken, broker.runtime.now());
  if (!ticket.ok) return ticket;
  const { path, principal: id } = ticket.value;
  if (path !== ticketPath(request)) return refuse("forbidden", "The ticket is for another path.");
  const principal: Principal = { id, scopes: [{ verb: "consume", topics: "*" }] };
  if (id === rootPrincipal.id) return ok(principal);
  const made = await madeBy(broker, id);
  return made.ok ? ok({ ...principal, admission: made.value }) : made;
}

/** The token that made a ticket: with it its tickets end. While D1 is away nobody can tell, and a ticket ends soon. */
async function madeBy({ catalog }: Broker, id: string): Promise<Result<Admission>> {
  try {
    const found = await catalog.store.tokens.live(id);
    return found.ok ? ok(admissionOf("id", id, found.value.expiresAt)) : unknown();
  } catch (fault) {
    if (fault instanceof CatalogFault) return ok({ by: "id", token: id });
    throw fault;
  }
}

/** The path that a ticket is made for, or used below: the request's without its last part. */
export function ticketPath({ url }: Request): string {
  const { pathname } = new URL(url);
  return pathname.slice(0, pathname.lastIndexOf("/"));
}

/** A new token, and its hash to be kept. The token is shown once. */
export async function newToken(): Promise<{ token: string; hash: string }> {
  const token = tokenText(crypto.getRandomValues(new Uint8Array(TOKEN_SECRET_BYTES)));
  return { token, hash: toHex(await sha256(utf8.encode(token))) };
}

export function sha256(bytes: Uint8Array): Promise<ArrayBuffer> {
  return crypto.subtle.digest("SHA-256", bytes);
}

async function find(broker: Broker, digest: ArrayBuffer): Promise<Result<Principal>> {
  const hash = toHex(digest);
  const found = await broker.catalog.store.tokens.find(hash);
  if (!found.ok) return found;
  const { id, name, scopes, limits, expiresAt } = found.value;
  const granted = scopes.flatMap((scope) => parseScope(scope) ?? []);
  const admission = admissionOf("hash", hash, expiresAt);
  return ok({ id, name, scopes: granted, admission, ...(limits && { limits }) });
}

/** In constant time: two hashes of one length are compared, and how far they agree tells nothing of the token. */
async function isRoot({ rootToken }: Broker, digest: ArrayBuffer): Promise<boolean> {
  if (root?.token !== rootToken) root = { token: rootToken, digest: await sha256(utf8.encode(rootToken)) };
  return crypto.subtle.timingSafeEqual(root.digest, digest);
}

/** The root token's hash, made once per isolate. */
let root: { token: string; digest: ArrayBuffer } | undefined;

function toHex(digest: ArrayBuffer): string {
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function unknown(): Refused {
  return refuse("unauthenticated", "The token is unknown or has expired.");
}
