// A webhook receiver: a real HTTP server that keeps what it was sent, answers what it is told to, and can
// be down and come back on the same port.

import { createServer, type IncomingHttpHeaders, type Server } from "node:http";
import { freePort } from "./port.ts";

export type Received = Readonly<{
  path: string;
  headers: Readonly<Record<string, string>>;
  body: Buffer;
}>;

/** What a receiver answers: a status, and a body when it has something to say. */
export type Reply = Readonly<{ status: number; json?: unknown }>;

export type Receiver = Readonly<{
  url: string;
  /** Refuses connections until `up`. */
  down(): Promise<void>;
  up(): Promise<void>;
}>;

/** Starts a receiver whose `answer` sees every request once its body is there. */
export async function startReceiver(answer: (received: Received) => Reply): Promise<Receiver> {
  const port = await freePort();
  let server: Server | undefined;
  const up = async () => {
    server = await listen(port, answer);
  };
  await up();
  return {
    url: `http://127.0.0.1:${port}/`,
    up,
    down: async () => {
      if (server) await close(server);
      server = undefined;
    },
  };
}

function listen(port: number, answer: (received: Received) => Reply): Promise<Server> {
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const { status, json } = answer({
      path: request.url ?? "/",
      headers: flat(request.headers),
      body: Buffer.concat(chunks),
    });
    response.writeHead(status, { "content-type": "application/json" });
    response.end(json === undefined ? "" : JSON.stringify(json));
  });
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () => resolve(server));
  });
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

function flat(headers: IncomingHttpHeaders): Record<string, string> {
  const entries = Object.entries(headers);
  return Object.fromEntries(entries.map(([name, value]) => [name, [value].flat().join(", ")]));
}
