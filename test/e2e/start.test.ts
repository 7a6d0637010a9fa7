// `npm start` as a new user meets it: what it prints works when pasted, and it leaves nothing behind.

import { execFile, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, expect, test } from "vitest";
import { freePort, portTaken } from "../support/port.ts";
import { until } from "../support/until.ts";
import { projectDir } from "../support/worker-process.ts";

let stateDir: string;
let port: number;
beforeEach(async () => {
  stateDir = await mkdtemp(join(tmpdir(), "pennypost-start-"));
  port = await freePort();
});
afterEach(() => rm(stateDir, { recursive: true, force: true, maxRetries: 5 }));

function npmStart(env: Record<string, string> = {}) {
  const child = spawn(process.execPath, [join(projectDir, "scripts", "start.mjs")], {
    env: { ...process.env, PORT: String(port), STATE_DIR: stateDir, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const printed = { stdout: "", stderr: "" };
  child.stdout.on("data", (chunk) => {
    printed.stdout += chunk;
  });
  child.stderr.on("data", (chunk) => {
    printed.stderr += chunk;
  });
  const exitCode = new Promise<number | null>((resolve) => child.once("close", resolve));
  return { child, printed, exitCode };
}

function pasteable(text: string): string {
  return text
    .split("\n")
    .filter((line) => line.startsWith("curl "))
    .join("\n");
}

test("npm start prints what works when pasted, keeps its token, and ends with nothing left", async () => {
  const tokens: (string | undefined)[] = [];
  for (const life of [1, 2]) {
    const { child, printed, exitCode } = npmStart();
    await until("the greeting is printed", () => printed.stdout.includes("Ctrl-C"), { withinMs: 110_000 });
    tokens.push(/token\s+(\S+)/.exec(printed.stdout)?.[1]);
    if (life === 1) {
      const { stdout } = await promisify(execFile)("sh", ["-ec", pasteable(printed.stdout)]);
      expect(stdout).toContain('"data":"Hello, Pennypost!"');
    }
    child.kill("SIGTERM");
    expect(await exitCode).toBe(0);
    expect(await portTaken(port)).toBe(false);
    expect(printed.stderr).toBe("");
  }
  expect(tokens[0]).toMatch(/^\S{16,}$/);
  expect(tokens[1]).toBe(tokens[0]);
});

test("a port that is taken is one clear line and exit code 1", async () => {
  const server = createServer().listen(port, "127.0.0.1");
  const { printed, exitCode } = npmStart();
  expect(await exitCode).toBe(1);
  expect(printed.stderr.trim()).toBe(
    `Port ${port} is already in use. Choose another: PORT=${port + 1} npm start`,
  );
  server.close();
});

test("a token that is too short is refused before anything starts", async () => {
  const { printed, exitCode } = npmStart({ PENNYPOST_TOKEN: "short" });
  expect(await exitCode).toBe(1);
  expect(printed.stderr).toContain("PENNYPOST_TOKEN");
});
