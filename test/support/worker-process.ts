// One Worker under `wrangler dev`: a group of processes that is started, ended, or killed with -9. Ending
// waits until the port refuses, because a part of the group that survives would go on answering.

import { type ChildProcess, execFile, spawn } from "node:child_process";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { promisify, stripVTControlCharacters } from "node:util";
import { portTaken } from "./port.ts";
import { until } from "./until.ts";

export type WorkerOptions = Readonly<{
  port: number;
  /** Where D1, objects and wrangler's own registry lie. */
  stateDir: string;
  /** Another wrangler.toml than the project's. */
  config?: string;
  /** Follow the sources and reload on every change. Otherwise it runs what `bundleWorker` made of them. */
  watch?: boolean;
  /** A bundle that is there already. */
  script?: string;
  vars?: Readonly<Record<string, string>>;
  env?: Readonly<Record<string, string>>;
  /** How much wrangler says: `error` unless named; `log` adds the Worker's own lines. */
  logLevel?: "error" | "log";
  /** A path that answers 2xx once the Worker is ready. */
  healthPath?: string;
  /** false: the group of the caller, so that whatever ends the caller's group ends this as well. */
  ownGroup?: boolean;
  /** Sees what wrangler prints. */
  onOutput?: (text: string) => void;
  /** Gives the start up: what was spawned is ended, and starting throws. */
  abort?: AbortSignal;
}>;

export type WorkerProcess = Readonly<{
  /** What wrangler printed last. */
  output(): string;
  /** Resolves when wrangler is gone, whoever ended it. */
  exited: Promise<void>;
  /** Ends it as Ctrl-C would. */
  stop(): Promise<void>;
  /** Kills every process of the group with -9. */
  kill9(): Promise<void>;
}>;

export const projectDir = join(import.meta.dirname, "..", "..");
const wranglerBin = join(projectDir, "node_modules", "wrangler", "bin", "wrangler.js");
const OUTPUT_KEPT = 20_000;
const START_MS = 60_000;
const STOP_MS = 10_000;

const livingGroups = new Set<number>();
process.once("exit", () => {
  for (const group of livingGroups) signal(-group, "SIGKILL");
});

/** Runs one wrangler command to its end; throws with what it printed when it fails. */
export async function runWrangler(
  args: readonly string[],
  { stateDir, abort }: Pick<WorkerOptions, "stateDir" | "abort">,
): Promise<void> {
  const options = { cwd: projectDir, env: wranglerEnv(stateDir), timeout: START_MS, signal: abort };
  await promisify(execFile)(process.execPath, [wranglerBin, ...args], options);
}

/**
 * Bundles the Worker as a deployment would and returns the bundle's path. A Worker that runs from it is not
 * reloaded in the middle of a test because a file was touched.
 */
export async function bundleWorker(options: WorkerOptions): Promise<string> {
  const outDir = join(options.stateDir, "bundle");
  await runWrangler(["deploy", "--dry-run", "--outdir", outDir, ...configArguments(options)], options);
  const script = (await readdir(outDir)).find((name) => name.endsWith(".js"));
  if (script === undefined) throw new Error(`wrangler left no script in ${outDir}`);
  return join(outDir, script);
}

/** Starts the Worker and returns once its health path answers. */
export async function startWorker(options: WorkerOptions): Promise<WorkerProcess> {
  const { port, stateDir, watch = false, ownGroup = true, healthPath = "/healthz" } = options;
  if (await portTaken(port)) throw new Error(`port ${port} is already in use`);
  const script = watch ? undefined : (options.script ?? (await bundleWorker(options)));
  const child = spawn(process.execPath, [wranglerBin, ...devArguments(options, script)], {
    cwd: projectDir,
    detached: ownGroup,
    env: { ...wranglerEnv(stateDir), ...options.env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const worker = supervise(child, options);
  options.abort?.addEventListener("abort", worker.stop, { once: true });
  child.once("exit", () => options.abort?.removeEventListener("abort", worker.stop));
  try {
    await ready(child, `http://127.0.0.1:${port}${healthPath}`);
  } catch (fault) {
    await worker.stop();
    throw new Error(`the Worker did not start:\n${worker.output()}`, { cause: fault });
  }
  return worker;
}

function devArguments(options: WorkerOptions, script: string | undefined): string[] {
  const { port, stateDir, vars = {}, logLevel = "error" } = options;
  return [
    "dev",
    ...(script === undefined ? [] : [script, "--no-bundle"]),
    ...configArguments(options),
    ...["--ip", "127.0.0.1", "--port", String(port), "--inspector-port", "0", "--persist-to", stateDir],
    ...["--show-interactive-dev-session=false", "--log-level", logLevel],
    ...Object.entries(vars).flatMap(([name, value]) => ["--var", `${name}:${value}`]),
  ];
}

function configArguments({ config = join(projectDir, "wrangler.toml") }: WorkerOptions): string[] {
  return ["--config", config];
}

/** Its own registry, so that two brokers on one machine never consume each other's Cloudflare Queues. */
function wranglerEnv(stateDir: string): NodeJS.ProcessEnv {
  return {
    ...process.env,
    CI: "1",
    CLOUDFLARE_CF_FETCH_ENABLED: "false",
    WRANGLER_HIDE_BANNER: "true",
    WRANGLER_REGISTRY_PATH: join(stateDir, "registry"),
    WRANGLER_SEND_METRICS: "false",
    WRANGLER_WRITE_LOGS: "false",
    X_LOCAL_OBSERVABILITY: "false",
  };
}

function supervise(child: ChildProcess, { port, ownGroup = true, onOutput }: WorkerOptions): WorkerProcess {
  const pid = child.pid;
  if (pid === undefined) throw new Error("wrangler could not be spawned");
  let kept = "";
  const keep = (chunk: Buffer) => {
    const text = stripVTControlCharacters(chunk.toString());
    kept = (kept + text).slice(-OUTPUT_KEPT);
    onOutput?.(text);
  };
  child.stdout?.on("data", keep);
  child.stderr?.on("data", keep);
  if (ownGroup) livingGroups.add(pid);
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const kill9 = async () => {
    signal(ownGroup ? -pid : pid, "SIGKILL");
    livingGroups.delete(pid);
    await until(`port ${port} refuses`, async () => !(await portTaken(port)), { withinMs: 10_000 });
  };
  const stop = async () => {
    signal(pid, "SIGTERM");
    const ended = await Promise.race([exited.then(() => true), after(STOP_MS)]);
    if (ended && !(await portTaken(port))) livingGroups.delete(pid);
    else await kill9();
  };
  return { output: () => kept, exited, stop, kill9 };
}

async function ready(child: ChildProcess, url: string): Promise<void> {
  await until(
    `${url} answers`,
    async () => {
      if (child.exitCode !== null || child.signalCode !== null) return "gone";
      return (await fetch(url, { signal: AbortSignal.timeout(2_000) })).ok && "ready";
    },
    { withinMs: START_MS, everyMs: 100 },
  ).then((state) => {
    if (state === "gone") throw new Error("wrangler ended");
  });
}

function after(ms: number): Promise<false> {
  return new Promise((resolve) => setTimeout(() => resolve(false), ms).unref());
}

/** Sends a signal to a process, or to a group when `pid` is negative; one that is gone is no fault. */
function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (fault) {
    if ((fault as NodeJS.ErrnoException).code !== "ESRCH") throw fault;
  }
}
