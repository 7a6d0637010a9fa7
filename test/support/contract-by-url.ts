// The contract's target anywhere: a broker by its URL and token, with receivers that are paths of one server on this
// machine. A broker on this machine reaches them by themselves; any other needs PENNYPOST_RECEIVER_URL, which leads
// to PENNYPOST_RECEIVER_PORT here. Without it, tests that need a receiver are not run.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Target } from "./contract-client";
import { type Bell, type Receiver, receiverAt } from "./contract-receiver";

const TIMEOUT_MS = 60_000;
const HERE = ["127.0.0.1", "localhost", "[::1]"];
const receivers = new Map<string, Receiver>();
let origin: Promise<string> | undefined;

/** The broker that the environment names; `notRun` ends a test that this one cannot be asked. */
export function target(notRun: (why: string) => never): Target {
  const { PENNYPOST_URL: url, PENNYPOST_TOKEN: token, PENNYPOST_RECEIVER_URL: receiverUrl } = process.env;
  if (!url || !token) throw new Error("set PENNYPOST_URL and PENNYPOST_TOKEN to the broker under test");
  const { hostname } = new URL(url);
  return {
    token,
    fetch: (path, init) => fetch(`${url}${path}`, { ...init, signal: AbortSignal.timeout(TIMEOUT_MS) }),
    socket: (path) => {
      const socket = new WebSocket(`${url.replace(/^http/, "ws")}${path}`);
      return new Promise((resolve, reject) => {
        socket.addEventListener("open", () => resolve(socket));
        socket.addEventListener("error", () => reject(new Error("the socket was refused")));
      });
    },
    receiver: () => {
      if (!receiverUrl && !HERE.includes(hostname)) {
        notRun(`it needs a webhook receiver that ${hostname} can reach (--receiver-url)`);
      }
      return newReceiver();
    },
  };
}

async function newReceiver(): Promise<Receiver> {
  origin ??= listen();
  const path = `/hooks/${crypto.randomUUID()}`;
  const receiver = receiverAt(`${await origin}${path}`, newBell());
  receivers.set(path, receiver);
  return receiver;
}

/** Starts the server of all receivers and returns where a broker finds it. */
async function listen(): Promise<string> {
  const { PENNYPOST_RECEIVER_URL: url, PENNYPOST_RECEIVER_PORT: port = "0" } = process.env;
  const server: Server = createServer(answer);
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(Number(port), "127.0.0.1", resolve);
  });
  server.unref();
  return url?.replace(/\/$/, "") ?? `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  // A tunnel may put something before the path.
  const path = /\/hooks\/[\w-]+$/.exec(request.url ?? "")?.[0] ?? "";
  const headers = new Headers(Object.entries(request.headers).map(([name, value]) => [name, String(value)]));
  const body = new Uint8Array(Buffer.concat(chunks));
  const taken = await receivers.get(path)?.take(headers, body, request.method);
  response.writeHead(taken?.status ?? 404, { ...taken?.headers }).end(taken?.body);
}

function newBell(): Bell {
  let rings = 0;
  let wake: (() => void) | undefined;
  return {
    ring: () => {
      rings += 1;
      wake?.();
    },
    wait: async () => {
      while (rings === 0) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      rings -= 1;
    },
  };
}
