// A whole broker under `wrangler dev`, as `npm start`, the demo, the e2e tests and the bench use it: its two
// databases migrated, its cron poked, and able to be killed with -9 and started again on the same state.

import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "./port.ts";
import {
  bundleWorker,
  runWrangler,
  startWorker,
  type WorkerOptions,
  type WorkerProcess,
} from "./worker-process.ts";

export type BrokerOptions = Readonly<{
  /** A free one, unless named. */
  port?: number;
  /** Fresh and removed at the end, unless named. */
  stateDir?: string;
  token?: string;
  /** What the secrets of endpoints are sealed under. */
  secretsKey?: string;
}> &
  Pick<WorkerOptions, "env" | "vars" | "logLevel" | "watch" | "ownGroup" | "onOutput" | "abort">;

/** What a client needs to know of a broker. */
export type Address = Readonly<{ url: string; token: string }>;

export type Broker = Address &
  Readonly<{
    port: number;
    stateDir: string;
    /** What wrangler printed last. */
    output(): string;
    /** Resolves when the broker that runs now is gone. */
    exited(): Promise<void>;
    /** Runs the cron once: locally nothing else does. */
    sweep(): Promise<void>;
    /** Kills every process with -9; the state stays. */
    kill9(): Promise<void>;
    /** Starts again on the same port and state. */
    restart(): Promise<void>;
    /** Ends it, and removes its state when that was made for it. */
    stop(): Promise<void>;
  }>;

const LOCAL_TOKEN = "local-root-token-0123456789";
const LOCAL_SECRETS_KEY = "local-secrets-key-0123456789abcdef";
const DATABASES = ["pennypost-catalog", "pennypost-ledger"];
const SWEEP_EVERY_MS = 60_000;

/** Starts a broker and returns once it answers. */
export async function startBroker(options: BrokerOptions = {}): Promise<Broker> {
  const port = options.port ?? (await freePort());
  const stateDir = options.stateDir ?? (await mkdtemp(join(tmpdir(), "pennypost-")));
  const removeState = async () => {
    if (options.stateDir === undefined) await rm(stateDir, { recursive: true, force: true, maxRetries: 5 });
  };
  const token = options.token ?? LOCAL_TOKEN;
  const url = `http://127.0.0.1:${port}`;
  const secrets = { ROOT_TOKEN: token, SECRETS_KEY: options.secretsKey ?? LOCAL_SECRETS_KEY };
  const vars = { LOG: "off", ...options.vars, ...secrets, ENVIRONMENT: "local" };
  const settings = { ...options, port, stateDir, vars };
  let start: () => Promise<WorkerProcess>;
  let worker: WorkerProcess;
  try {
    await migrate(settings);
    const bundle = options.watch ? {} : { script: await bundleWorker(settings) };
    start = () => startWorker({ ...settings, ...bundle });
    worker = await start();
  } catch (fault) {
    await removeState();
    throw fault;
  }
  const sweep = () => pokeCron(url);
  const sweeping = setInterval(() => sweep().catch(() => undefined), SWEEP_EVERY_MS);
  return {
    ...{ url, token, port, stateDir, sweep },
    output: () => worker.output(),
    exited: () => worker.exited,
    kill9: () => worker.kill9(),
    restart: async () => {
      worker = await start();
    },
    stop: async () => {
      clearInterval(sweeping);
      await worker.stop();
      await removeState();
    },
  };
}

/** Brings both local databases up to date; wrangler skips what is applied already. */
async function migrate(at: Pick<WorkerOptions, "stateDir" | "abort">): Promise<void> {
  await mkdir(at.stateDir, { recursive: true });
  // One after the other: two at once meet at a lock of the local runtime's.
  for (const name of DATABASES) {
    const apply = ["d1", "migrations", "apply", name, "--local", "--persist-to", at.stateDir];
    await runWrangler(apply, at);
  }
}

async function pokeCron(url: string): Promise<void> {
  const answer = await fetch(`${url}/cdn-cgi/local/scheduled`, { signal: AbortSignal.timeout(30_000) });
  await answer.body?.cancel();
  if (!answer.ok) throw new Error(`the cron answered ${answer.status}`);
}
