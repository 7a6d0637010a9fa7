// A ticket lets a browser listen, whose EventSource and WebSocket cannot send a header: it stands in the URL for a
// token, reads live below one path, and ends soon. It is signed with the root token and kept nowhere, so it cannot be
// taken back; another root token ends all of them.

import { ok, type Result, refuse } from "../errors";
import { toBase64, urlSafe } from "../message-json";

/** Who may listen below which path, and until when (epoch milliseconds). */
export type Ticket = Readonly<{ principal: string; path: string; expiresAt: number }>;

const HMAC = { name: "HMAC", hash: "SHA-256" };
const PURPOSE = "pennypost-ticket-1.";
const TICKET_LENGTH = 1_024;
const utf8 = new TextEncoder();

/** Signs a ticket. */
export async function ticketText(ticket: Ticket, rootToken: string): Promise<string> {
  const claims = base64Url(utf8.encode(JSON.stringify(ticket)));
  const signature = await crypto.subtle.sign("HMAC", await keyOf(rootToken), utf8.encode(PURPOSE + claims));
  return `${claims}.${base64Url(new Uint8Array(signature))}`;
}

/** A ticket that was signed here and is not over. */
export async function readTicket(text: string, rootToken: string, now: number): Promise<Result<Ticket>> {
  const [claims = "", signature = ""] = text.length <= TICKET_LENGTH ? text.split(".") : [];
  const [signed, said] = [fromBase64Url(signature), fromBase64Url(claims)];
  if (!signed || !said) return unknown();
  const isOurs = await crypto.subtle.verify(
    "HMAC",
    await keyOf(rootToken),
    signed,
    utf8.encode(PURPOSE + claims),
  );
  if (!isOurs) return unknown();
  const ticket = JSON.parse(new TextDecoder().decode(said)) as Ticket;
  return ticket.expiresAt > now ? ok(ticket) : unknown();
}

function unknown(): Result<never> {
  return refuse("unauthenticated", "The ticket is unknown or has expired.");
}

function keyOf(rootToken: string): Promise<CryptoKey> {
  return crypto.subtle.importKey("raw", utf8.encode(rootToken), HMAC, false, ["sign", "verify"]);
}

function base64Url(bytes: Uint8Array): string {
  return urlSafe(toBase64(bytes));
}

function fromBase64Url(text: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
    return Uint8Array.from(binary, (character) => character.charCodeAt(0));
  } catch {
    return undefined;
  }
}
