// `npm run demo`: starts a broker of its own, plays the scenarios against it and tells what happens. Exits 0 when
// every check held, and leaves no process and no file behind.

import { startBroker } from "../test/support/broker.ts";
import { scenariosWith } from "./demo/scenarios.ts";
import { perform } from "./demo/stage.ts";

const stopping = new AbortController();
const abort = stopping.signal;
for (const name of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  process.on(name, () => stopping.abort(new Error(`stopped by ${name}`)));
}

const scenarios = scenariosWith({ backlog: 3_000 });
let broker;
try {
  console.log("Starting a broker with fresh state …");
  broker = await startBroker({ abort });
  for (const [index, scenario] of scenarios.entries()) {
    console.log(`\n${index + 1}. ${scenario.title}`);
    await perform(scenario, broker, { say, abort });
  }
  console.log(`\nAll ${scenarios.length} scenarios held.`);
} catch (fault) {
  console.error("\nThe demo failed:", fault);
  if (broker?.output()) console.error(`The broker printed:\n${broker.output()}`);
  process.exitCode = 1;
} finally {
  await broker?.stop();
}
// What a scenario that was stopped in its middle still waits for must not keep the process.
process.exit();

function say(what, details) {
  console.log(`  ${what.padEnd(14)} ${details}`);
}
