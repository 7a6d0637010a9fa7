// `npm run cost`: what each path of the design costs, counted on the real objects (test/cost). Prints a table;
// `-- --json` prints only JSON. Exits 1 when a path is above its ceiling, or was not counted.

import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const projectDir = join(import.meta.dirname, "..");
const vitest = join(projectDir, "node_modules", "vitest", "vitest.mjs");
const isJson = process.argv.includes("--json");
const isVerbose = process.argv.includes("--breakdown");

const tests = await runTests();
const counted = tests.filter(({ meta }) => meta?.cost);
const paths = counted.map(({ meta }) => meta.cost);
if (isJson) console.log(JSON.stringify({ paths }));
else printTable(paths);
if (isVerbose) for (const { meta } of counted) printBreakdown(meta);
const failed = tests.filter(({ status }) => status !== "passed");
for (const { title, failureMessages } of failed) {
  console.error(`\n${title}: ${failureMessages.map((message) => message.split("\n")[0]).join("; ")}`);
}
if (paths.length === 0) console.error("nothing was counted");
process.exitCode = failed.length > 0 || paths.length === 0 ? 1 : 0;

/** Runs test/cost in workerd. Answers its tests, each with what it counted. */
async function runTests() {
  const dir = await mkdtemp(join(tmpdir(), "pennypost-cost-"));
  const report = join(dir, "report.json");
  try {
    const child = spawn(
      process.execPath,
      [vitest, "run", "--project", "cost", "--reporter=json", `--outputFile=${report}`],
      { cwd: projectDir, stdio: ["ignore", "pipe", "pipe"] },
    );
    for (const name of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(name, () => child.kill(name));
    // What the run prints is no part of the sheet, and of interest only when there is none.
    let printed = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (printed += chunk));
    await new Promise((resolve, reject) => child.once("error", reject).once("close", resolve));
    const text = await readFile(report, "utf8").catch(() => Promise.reject(new Error(printed)));
    const { testResults } = JSON.parse(text);
    return testResults.flatMap(({ assertionResults }) => assertionResults);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

function printTable(costs) {
  const head = [
    "path",
    "messages",
    "rows written",
    "object requests",
    "queue operations",
    "D1 rows",
    "$ per million",
  ];
  const rows = costs.map((cost) => {
    const each = (total) => (total / cost.messages).toFixed(4);
    return [
      cost.name,
      String(cost.messages),
      ...[cost.rowsWritten, cost.objectRequests, cost.queueOperations, cost.d1RowsWritten].map(each),
      cost.dollarsPerMillion.toFixed(3),
    ];
  });
  console.log(
    "Per message of 200 bytes, removal by retention included; dollars by Cloudflare's price list:\n",
  );
  const widths = head.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column].length)),
  );
  for (const row of [head, ...rows]) {
    console.log(
      row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join("  "),
    );
  }
}

/** Where a path's counts come from: each statement and call, per message. */
function printBreakdown({ cost, breakdown }) {
  console.log(`\n${cost.name}`);
  for (const [name, count] of breakdown) {
    console.log(`  ${(count / cost.messages).toFixed(4).padStart(9)}  ${name.slice(0, 110)}`);
  }
}
