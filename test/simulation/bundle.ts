// The simulation as one file for a worker thread, with or without a mutant's edits in the source.

import { readFileSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { build, type Plugin } from "esbuild";
import type { Edit } from "./mutants.ts";

const projectDir = join(import.meta.dirname, "..", "..");

/** Where the D1 migrations are. */
export const migrationsDir = join(projectDir, "migrations");

/** Bundles `simulation-worker.ts` into a fresh directory. Answers the file's path; the caller removes `dir`. */
export async function bundleWorker(edits: readonly Edit[] = []): Promise<{ dir: string; path: string }> {
  const dir = await mkdtemp(join(tmpdir(), "pennypost-simulation-"));
  const path = join(dir, "worker.mjs");
  await build({
    entryPoints: [join(import.meta.dirname, "simulation-worker.ts")],
    outfile: path,
    bundle: true,
    platform: "node",
    format: "esm",
    logLevel: "silent",
    alias: { "cloudflare:workers": join(projectDir, "test", "support", "cloudflare-workers.ts") },
    plugins: [mutating(edits)],
  });
  return { dir, path };
}

function mutating(edits: readonly Edit[]): Plugin {
  return {
    name: "mutant",
    setup({ onLoad }) {
      onLoad({ filter: /[/\\]src[/\\].*\.ts$/ }, ({ path }) => {
        const file = relative(projectDir, path).replaceAll("\\", "/");
        const mine = edits.filter((edit) => edit.file === file);
        if (mine.length === 0) return undefined;
        return { contents: mine.reduce(applyEdit, readFileSync(path, "utf8")), loader: "ts" };
      });
    },
  };
}

/** The source with one edit made. Throws when its snippet is not there exactly once. */
export function applyEdit(source: string, { file, find, put }: Edit): string {
  const count = source.split(find).length - 1;
  if (count !== 1) throw new Error(`${file} has ${count} times: ${find}`);
  return source.replace(find, () => put);
}
