// A broker for fuzzing: the deployed bundle in this process's Miniflare, without the development proxy, which answers a
// request that was refused before its body was read with a 500 of its own. What the broker would send goes nowhere.

import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { convertV4MiniflareOptions, Miniflare, Response } from "miniflare";
import { unstable_getMiniflareWorkerOptions } from "wrangler";
import { bundleWorker, projectDir } from "../support/worker-process.ts";

export type FuzzBroker = Readonly<{ url: string; token: string; stop(): Promise<void> }>;

const TOKEN = "local-root-token-0123456789";
const SECRETS = { ROOT_TOKEN: TOKEN, SECRETS_KEY: "local-secrets-key-0123456789abcdef" };
const DATABASES = { CATALOG: "catalog", LEDGER: "ledger" };

/** Starts one in memory, on a free port of this machine. */
export async function startFuzzBroker(): Promise<FuzzBroker> {
  const stateDir = await mkdtemp(join(tmpdir(), "pennypost-fuzz-"));
  const path = await bundleWorker({ port: 0, stateDir });
  const { workerOptions } = unstable_getMiniflareWorkerOptions(join(projectDir, "wrangler.toml"));
  const options = convertV4MiniflareOptions({
    ...workerOptions,
    ...{ name: "pennypost", modules: [{ type: "ESModule", path }], modulesRoot: dirname(path) },
    ...{ host: "127.0.0.1", port: 0 },
    bindings: {
      ...(workerOptions.bindings as Record<string, string>),
      ...SECRETS,
      LOG: "off",
      ENVIRONMENT: "local",
    },
    outboundService: () => new Response("nothing leaves this machine", { status: 502 }),
  });
  const miniflare = new Miniflare(options);
  const stop = async () => {
    await miniflare.dispose();
    await rm(stateDir, { recursive: true, force: true, maxRetries: 5 });
  };
  try {
    const url = (await miniflare.ready).origin;
    for (const [binding, folder] of Object.entries(DATABASES)) await migrate(miniflare, binding, folder);
    return { url, token: TOKEN, stop };
  } catch (fault) {
    await stop();
    throw fault;
  }
}

async function migrate(miniflare: Miniflare, binding: string, folder: string): Promise<void> {
  const database = await miniflare.getD1Database(binding);
  const at = join(projectDir, "migrations", folder);
  for (const name of (await readdir(at)).filter((name) => name.endsWith(".sql")).sort()) {
    const text = (await readFile(join(at, name), "utf8")).replaceAll(/--.*$/gm, "");
    for (const statement of text.split(";").filter((part) => part.trim() !== "")) {
      await database.prepare(statement).run();
    }
  }
}
