// The contract's target in workerd: the Worker is called directly, and webhooks to hosts that end in
// `.receiver.example` are answered on the spot.

import { exports } from "cloudflare:workers";
import { vi } from "vitest";
import { ARRIVES_MS, contractClient, type Target } from "./contract-client";
import { type Bell, type Receiver, receiverAt } from "./contract-receiver";

const ORIGIN = "https://pennypost.example";
const TOKEN = "test-root-token-0123456789";
const receivers = new Map<string, Receiver>();

export function target(): Target {
  const worker = (exports as unknown as { default: { fetch: typeof fetch } }).default;
  return {
    token: TOKEN,
    fetch: (path, init) => worker.fetch(`${ORIGIN}${path}`, init),
    socket: async (path) => {
      const headers = { upgrade: "websocket" };
      const { webSocket, status } = await worker.fetch(`${ORIGIN}${path}`, { headers });
      if (!webSocket) throw new Error(`the socket was answered ${status}`);
      webSocket.accept();
      return webSocket;
    },
    receiver: async () => {
      routeWebhooks();
      const host = `r-${crypto.randomUUID()}.receiver.example`;
      const receiver = receiverAt(`https://${host}/hooks`, await newBell());
      receivers.set(host, receiver);
      return receiver;
    },
  };
}

/**
 * A queue of the broker under test. The dispatcher's request and the test's are two, and here a promise that one of
 * them resolves never wakes the other: a request that is waited for does.
 */
async function newBell(): Promise<Bell> {
  const queue = await contractClient(target()).queue();
  return {
    ring: async () => {
      await queue.publish({ data: "one more" });
    },
    wait: async () => {
      await queue.ack(await queue.pullAll(1, { waitMs: ARRIVES_MS }));
    },
  };
}

function routeWebhooks(): void {
  if (vi.isMockFunction(globalThis.fetch)) return;
  const outside = globalThis.fetch;
  vi.spyOn(globalThis, "fetch").mockImplementation(async (input, init) => {
    const receiver = receivers.get(new URL(input instanceof Request ? input.url : String(input)).host);
    if (!receiver) return outside(input as string, init as RequestInit);
    const request = new Request(input as string, init as RequestInit);
    const { status, headers, body } = await receiver.take(
      request.headers,
      new Uint8Array(await request.arrayBuffer()),
      request.method,
    );
    return new Response(body ?? null, { status, headers: { ...headers } });
  });
}
