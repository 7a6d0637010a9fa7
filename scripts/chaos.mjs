// `npm run chaos`: a broker of its own is killed with -9 again and again under load, and what everybody wrote down is
// judged (test/chaos/). `-- --kills N --seed S`. Exits 0 when every promise held, and leaves no process behind.

import { parseArgs } from "node:util";
import { describeRun } from "../test/chaos/chaos-report.ts";
import { runChaos } from "../test/chaos/chaos-run.ts";

const stopping = new AbortController();
for (const name of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  process.on(name, () => stopping.abort(new Error(`stopped by ${name}`)));
}

try {
  const { kills, seed } = readArguments();
  console.log(
    `Chaos: ${kills} kills of the broker, seed ${seed}. This takes about ${Math.ceil(kills / 10) + 2} minutes.`,
  );
  const report = await runChaos({ kills, seed, say: console.log, abort: stopping.signal });
  console.log(`\n${describeRun(report).join("\n")}`);
  process.exitCode = report.violations.length === 0 ? 0 : 1;
} catch (fault) {
  console.error("\nThe run did not come to its end:", fault);
  process.exitCode = 1;
}
// What a run that was stopped in its middle still waits for must not keep the process.
process.exit();

function readArguments() {
  const text = { type: "string" };
  const { values } = parseArgs({ options: { kills: text, seed: text } });
  const { kills = "20", seed = String(Date.now() % 1_000_000) } = values;
  for (const number of [kills, seed]) {
    if (!/^\d{1,9}$/.test(number)) throw new Error(`--kills and --seed are whole numbers, not '${number}'`);
  }
  return { kills: Number(kills), seed: Number(seed) };
}
