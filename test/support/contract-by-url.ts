// The contract's target anywhere: a broker by its URL and token, with receivers that are servers on this machine.
// They are reached by a broker that runs on this machine too.

import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { Target } from "./contract-client";
import { type Bell, type Receiver, receiverAt } from "./contract-receiver";

const TIMEOUT_MS = 60_000;

export function target(): Target {
  const { PENNYPOST_URL: url, PENNYPOST_TOKEN: token } = process.env;
  if (!url || !token) throw new Error("set PENNYPOST_URL and PENNYPOST_TOKEN to the broker under test");
  return {
    token,
    fetch: (path, init) => fetch(`${url}${path}`, { ...init, signal: AbortSignal.timeout(TIMEOUT_MS) }),
    receiver: startReceiver,
  };
}

function startReceiver(): Promise<Receiver> {
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const headers = new Headers(
      Object.entries(request.headers).map(([name, value]) => [name, String(value)]),
    );
    const answer = await receiver.take(headers, new Uint8Array(Buffer.concat(chunks)));
    response.writeHead(answer.status, { ...answer.headers }).end(answer.body);
  });
  let receiver: Receiver;
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      receiver = receiverAt(`http://127.0.0.1:${(server.address() as AddressInfo).port}/hooks`, newBell());
      server.unref();
      resolve(receiver);
    });
  });
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
