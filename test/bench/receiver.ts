// A webhook receiver that counts what reaches it, answers 204, and remembers one request so that the control can
// make the same.

import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { until } from "../support/until.ts";
import type { Run } from "./load.ts";

export type Sample = Readonly<{ headers: IncomingHttpHeaders; body: string }>;
export type Receiver = Readonly<{
  url: string;
  sample(): Sample;
  /** Forgets what came so far. */
  restart(): void;
  /** Waits for `requests`, and answers how long they took to come, from the first to the last. */
  received(requests: number): Promise<Run>;
  close(): void;
}>;

const WITHIN_MS = 60_000;

export async function startReceiver(): Promise<Receiver> {
  let count = 0;
  let firstAt = 0;
  let lastAt = 0;
  let sample: Sample | undefined;
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => {
      if (sample === undefined) chunks.push(chunk);
    });
    request.once("end", () => {
      sample ??= { headers: request.headers, body: Buffer.concat(chunks).toString() };
      lastAt = performance.now();
      if (count++ === 0) firstAt = lastAt;
      response.writeHead(204).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`,
    sample: () => {
      if (sample === undefined) throw new Error("the receiver has received nothing");
      return sample;
    },
    restart: () => {
      count = 0;
      sample = undefined;
    },
    received: async (requests) => {
      await until(`the receiver gets ${requests} requests`, () => count >= requests, {
        withinMs: WITHIN_MS,
        everyMs: 20,
      });
      return { count, ms: lastAt - firstAt };
    },
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}
