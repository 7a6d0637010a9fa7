// Requests as they are, over HTTP/1.1: paths are not tidied, headers may stand twice, a GET may have a body.

import { Agent, request as open } from "node:http";
import { pause } from "../support/until.ts";
import type { FuzzAnswer, Send } from "./fuzz-judge.ts";
import type { Ask } from "./fuzz-world.ts";
import type { HostileRequest } from "./hostile-requests.ts";

const GIVEN_UP_MS = 60_000;
/**
 * Who refuses a body unread closes the connection, and then the answer may be lost on its way: it is asked again, and
 * the body is held back a while for an answer to come before it.
 */
const CLOSED = ["ECONNRESET", "EPIPE"];
const TRIES = 6;
const HELD_BACK_MS = 300;
/** A stream of events goes on for ever: what is not a refusal is not read to its end. */
const READ_FROM = 400;

/** Sends to the broker at `origin` (http, on this machine or a tunnel's end). */
export function wireTo(origin: string): Send {
  const { hostname, port } = new URL(origin);
  const agent = new Agent({ keepAlive: true, maxSockets: 64 });
  const once = ({ method, path, headers, body }: HostileRequest, heldBackMs: number) =>
    new Promise<FuzzAnswer>((resolve, reject) => {
      const began = performance.now();
      const signal = AbortSignal.timeout(GIVEN_UP_MS);
      const sent = open({ agent, hostname, port, method, path, signal });
      for (const [name, values] of grouped(headers)) sent.setHeader(name, values);
      if (body !== undefined) sent.setHeader("content-length", Buffer.byteLength(body));
      sent.on("error", reject);
      sent.on("upgrade", (response, socket) => {
        socket.destroy();
        resolve(answerOf(response, "", performance.now() - began));
      });
      sent.on("response", (response) => {
        const done = (text: string) => {
          resolve(answerOf(response, text, performance.now() - began));
          if (!sent.writableEnded) sent.destroy();
        };
        if ((response.statusCode ?? 0) < READ_FROM && isEndless(response.headers["content-type"])) {
          done("");
          response.destroy();
          return;
        }
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("end", () => done(Buffer.concat(chunks).toString()));
        response.on("error", reject);
      });
      if (heldBackMs === 0 || body === undefined) return sent.end(body);
      sent.flushHeaders();
      pause(heldBackMs).then(() => sent.destroyed || sent.end(body));
    });
  return async (request) => {
    for (let tries = 1; ; tries++) {
      try {
        return await once(request, (tries - 1) * HELD_BACK_MS);
      } catch (fault) {
        if (tries === TRIES || !CLOSED.includes(String((fault as NodeJS.ErrnoException).code))) throw fault;
      }
    }
  };
}

/** Asks in JSON, as the holder of `token`. */
export function askBy(send: Send, token: string): Ask {
  return async (method, path, json) => {
    const headers = [
      ["authorization", `Bearer ${token}`],
      ["content-type", "application/json"],
    ] as const;
    const body = json === undefined ? {} : { body: JSON.stringify(json) };
    const { status, text } = await send({ route: "", method, path, headers, ...body });
    return { status, body: text === "" ? undefined : (JSON.parse(text) as unknown) };
  };
}

function isEndless(contentType: string | undefined): boolean {
  return contentType?.startsWith("text/event-stream") ?? false;
}

function grouped(headers: HostileRequest["headers"]): Map<string, string[]> {
  const byName = new Map<string, string[]>();
  for (const [name, value] of headers) byName.set(name, [...(byName.get(name) ?? []), value]);
  return byName;
}

type Answered = Readonly<{
  statusCode?: number | undefined;
  headers: { "content-type"?: string | undefined };
}>;

function answerOf({ statusCode = 0, headers }: Answered, text: string, ms: number): FuzzAnswer {
  return { status: statusCode, contentType: headers["content-type"] ?? "", text, ms };
}
