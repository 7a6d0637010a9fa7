// `npm run bench`: how fast the broker is next to bare code on the same runtime, as ratios measured in one run.
// Prints a table; `-- --json` prints only JSON. A ratio below what is expected is marked, and fails nothing:
// machines differ, and other work on this one shows.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hangUp } from "../test/bench/load.ts";
import { allMeasures } from "../test/bench/measures.ts";
import { startReceiver } from "../test/bench/receiver.ts";
import { startBroker } from "../test/support/broker.ts";
import { freePort } from "../test/support/port.ts";
import { startWorker } from "../test/support/worker-process.ts";

/** Many short ones: what else happens on the machine then falls on both, and the median leaves out the rest. */
const ROUNDS = 11;
const isJson = process.argv.includes("--json");
const stopping = new AbortController();
const abort = stopping.signal;
for (const name of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(name, () => stopping.abort());
const only = process.argv.find((argument) => argument.startsWith("--only="))?.slice("--only=".length);

const closing = [];
try {
  const ratios = await Promise.race([run(), stopped()]);
  if (isJson) console.log(JSON.stringify({ ratios }));
  else printTable(ratios);
} catch (fault) {
  console.error(abort.aborted ? "The bench was stopped." : fault);
  process.exitCode = 1;
} finally {
  for (const close of closing.reverse()) await close();
}

function stopped() {
  return new Promise((_, reject) => {
    abort.addEventListener("abort", () => reject(abort.reason), { once: true });
  });
}

async function run() {
  const receiver = await startReceiver();
  closing.push(() => receiver.close(), hangUp);
  const broker = await startBroker({ abort });
  closing.push(() => broker.stop());
  const control = await startControl();
  const ratios = [];
  for (const measure of await allMeasures({ broker, control, receiver })) {
    if (only === undefined || measure.name === only) ratios.push(await compare(measure));
  }
  return ratios;
}

/** The bare Worker, on the settings that the broker has. */
async function startControl() {
  const stateDir = await mkdtemp(join(tmpdir(), "pennypost-control-"));
  closing.push(() => rm(stateDir, { recursive: true, force: true, maxRetries: 5 }));
  const port = await freePort();
  const config = join(import.meta.dirname, "..", "test", "bench", "control.toml");
  const worker = await startWorker({ port, stateDir, config, abort });
  closing.push(() => worker.stop());
  return { url: `http://127.0.0.1:${port}`, token: "none" };
}

/** Rounds in turn, after one of each that only warms up. The ratio is the median of the rounds' ratios. */
async function compare({ name, expected, runBroker, runControl }) {
  const rounds = [];
  for (let round = 0; round <= ROUNDS; round++) {
    // The broker's first: a control that repeats its requests needs one to repeat.
    const broker = perSecond(await runBroker());
    const control = perSecond(await runControl());
    if (round > 0) rounds.push({ broker, control, ratio: broker / control });
  }
  const middle = (what) => median(rounds.map((round) => round[what]));
  return {
    ...{ name, ratio: Number(middle("ratio").toFixed(3)), expected },
    ...{ brokerPerSecond: Math.round(middle("broker")), controlPerSecond: Math.round(middle("control")) },
  };
}

function perSecond({ count, ms }) {
  return (count / ms) * 1000;
}

function median(numbers) {
  const sorted = numbers.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}

function printTable(ratios) {
  console.log("Messages per second next to bare code on the same runtime, in this run:\n");
  const row = (name, ...cells) =>
    `${name.padEnd(20)}${cells.map((cell) => String(cell).padStart(12)).join("")}`;
  console.log(row("", "broker", "control", "ratio", "expected"));
  for (const { name, brokerPerSecond, controlPerSecond, ratio, expected } of ratios) {
    const mark = ratio < expected ? "  below" : "";
    console.log(row(name, brokerPerSecond, controlPerSecond, ratio.toFixed(2), `>= ${expected}`) + mark);
  }
}
