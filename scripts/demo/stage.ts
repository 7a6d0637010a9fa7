// What a scenario plays on: a broker, a directory, somebody who listens, and checks that end it when they fail.

import { deepStrictEqual } from "node:assert";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Address } from "../../test/support/broker.ts";

export type Stage = Readonly<{
  broker: Address;
  /** Fresh, and removed at the end. */
  dir: string;
  /** Tells what happens: `what` in one word, then the details. */
  say(what: string, details: string): void;
  /** Ends the scenario unless `actual` is `expected`, deeply. */
  check(claim: string, actual: unknown, expected: unknown): void;
  /** Runs `cleanup` when the scenario ends, however it ends; the last first. */
  atEnd(cleanup: () => unknown): void;
}>;

export type Scenario = Readonly<{ title: string; play(stage: Stage): Promise<void> }>;

export type Performance = Readonly<{ say?: Stage["say"]; abort?: AbortSignal }>;

/** Plays one scenario against `broker`. Throws when a check fails, a wait runs out or `abort` fires. */
export async function perform(
  { play }: Scenario,
  broker: Address,
  { say = () => undefined, abort }: Performance = {},
): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "pennypost-demo-"));
  const cleanups: (() => unknown)[] = [() => rm(dir, { recursive: true, force: true })];
  const check = (claim: string, actual: unknown, expected: unknown) => {
    deepStrictEqual(actual, expected, `${claim}: got ${show(actual)} instead of ${show(expected)}`);
    say("checked", claim);
  };
  try {
    const playing = play({ broker, dir, say, check, atEnd: (cleanup) => cleanups.push(cleanup) });
    await Promise.race([playing, ...(abort ? [aborted(abort)] : [])]);
  } finally {
    for (const cleanup of cleanups.reverse()) await cleanup();
  }
}

function aborted(abort: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    abort.addEventListener("abort", () => reject(abort.reason), { once: true });
  });
}

function show(value: unknown): string {
  return JSON.stringify(value)?.slice(0, 500) ?? String(value);
}
