// The bench's client: a few connections, each of which sends its next request when the last one was answered.

import { Agent, request } from "node:http";

export type Target = Readonly<{ url: string; token: string }>;
export type Call = Readonly<{
  method?: string;
  path: string;
  body?: string;
  headers?: Readonly<Record<string, string>>;
}>;
/** How much was done, and how long that took. */
export type Run = Readonly<{ count: number; ms: number }>;

const CONNECTIONS = 16;
const TIMEOUT_MS = 30_000;
const agent = new Agent({ keepAlive: true, maxSockets: 64 });

/** Sends one request and reads its answer; throws unless it is 2xx. */
export function send(to: Target, { method = "POST", path, body = "", headers = {} }: Call): Promise<string> {
  const length = Buffer.byteLength(body);
  return new Promise((resolve, reject) => {
    const sent = request(`${to.url}${path}`, {
      ...{ agent, method, timeout: TIMEOUT_MS },
      headers: {
        authorization: `Bearer ${to.token}`,
        "content-type": "application/json",
        "content-length": length,
        ...headers,
      },
    });
    sent.once("error", reject).once("timeout", () => sent.destroy(new Error(`${path} did not answer`)));
    sent.once("response", (answer) => {
      const chunks: Buffer[] = [];
      answer.on("data", (chunk: Buffer) => chunks.push(chunk)).once("error", reject);
      answer.once("end", () => {
        const text = Buffer.concat(chunks).toString();
        const status = answer.statusCode ?? 0;
        if (status >= 200 && status < 300) resolve(text);
        else reject(new Error(`${method} ${path} answered ${status}: ${text.slice(0, 500)}`));
      });
    });
    sent.end(body);
  });
}

/** Repeats `work` on every connection for `forMs`, and counts what it answers. */
export async function driveFor(forMs: number, work: () => Promise<number>): Promise<Run> {
  const startedAt = performance.now();
  let count = 0;
  await onEveryConnection(async () => {
    while (performance.now() - startedAt < forMs) {
      const done = await work();
      count += done;
    }
  });
  return { count, ms: performance.now() - startedAt };
}

/** Does `work` on every connection until its answers add up to `total`. Nothing answered means there is no more. */
export async function driveUntil(total: number, work: () => Promise<number>): Promise<Run> {
  const startedAt = performance.now();
  let count = 0;
  await onEveryConnection(async () => {
    while (count < total) {
      const done = await work();
      if (done === 0) break;
      count += done;
    }
  });
  return { count, ms: performance.now() - startedAt };
}

/** Closes the connections that are kept. */
export function hangUp(): void {
  agent.destroy();
}

async function onEveryConnection(connection: () => Promise<void>): Promise<void> {
  await Promise.all(Array.from({ length: CONNECTIONS }, connection));
}
