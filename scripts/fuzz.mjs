// `npm run fuzz`: generated requests, valid, nearly valid and hostile, to every route (test/fuzz), against a broker of
// its own, or one by --url. Exits 1 when one was answered by a fault, or a refused one changed what is stored.

import { parseArgs } from "node:util";
import { startFuzzBroker } from "../test/fuzz/fuzz-broker.ts";
import { describeFuzz } from "../test/fuzz/fuzz-report.ts";
import { fuzz } from "../test/fuzz/fuzz-run.ts";
import { askBy, wireTo } from "../test/fuzz/fuzz-wire.ts";
import { makeWorld, removeWorld } from "../test/fuzz/fuzz-world.ts";

const USAGE = `npm run fuzz -- [--requests 100000] [--seed N] [--minutes N] [--url URL --token TOKEN]

  --requests N   how many to generate (100000)
  --seed N       the same seed makes the same requests
  --minutes N    ends after that time at the latest (60)
  --url, --token a broker for tests only, and a token that may do everything: what its names hit upon is changed`;
const stopping = new AbortController();
for (const name of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(name, () => stopping.abort());

const closing = [];
try {
  await run(readArguments());
} catch (fault) {
  console.error(fault);
  process.exitCode = 1;
} finally {
  for (const close of closing.reverse()) await close().catch(console.error);
}
// What was not waited for, such as a stream, must not keep the process.
process.exit();

async function run({ requests, seed, minutes, url, token }) {
  const broker = url ? { url, token } : await startFuzzBroker();
  if (!url) closing.push(() => broker.stop());
  const endAt = performance.now() + minutes * 60_000;
  const send = wireTo(broker.url);
  const ask = askBy(send, broker.token);
  const world = await makeWorld(ask, `fuzz-${seed}`, broker.token);
  closing.push(() => removeWorld(ask, world));
  const { body: document } = await ask("GET", "/openapi.json");
  const isOver = () => stopping.signal.aborted || performance.now() > endAt;
  const limits = { concurrency: 12, withinMs: 30_000 };
  console.log(`Fuzzing ${broker.url}: ${requests} requests, seed ${seed}`);
  const report = await fuzz({
    ...{ document, world, send, ask, requests, seed, ...limits },
    ...{ isOver, say: console.log },
  });
  console.log(`\n${describeFuzz(report, world).join("\n")}`);
  const cutShort = report.sent < requests && report.faults.length === 0;
  if (cutShort) console.log(`ended early: ${report.sent} of ${requests}`);
  process.exitCode = report.faults.length > 0 || (cutShort && stopping.signal.aborted) ? 1 : 0;
}

function readArguments() {
  const text = { type: "string" };
  const { values } = parseArgs({
    options: { requests: text, seed: text, minutes: text, url: text, token: text },
  });
  const { requests = "100000", seed = String(Date.now() % 1_000_000), minutes = "60", url, token } = values;
  const numbers = [requests, seed, minutes];
  if (numbers.some((number) => !/^\d{1,9}$/.test(number)) || !url !== !token) throw new Error(USAGE);
  return { requests: Number(requests), seed: Number(seed), minutes: Number(minutes), url, token };
}
