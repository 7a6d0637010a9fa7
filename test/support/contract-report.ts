// What `npm run contract` says at its end: how many promises held, and which were not asked, and why.

import type { Reporter, TestCase } from "vitest/node";

/** A reporter for vitest that names every test that was not run. */
export function contractReport(say: (text: string) => void = console.log): Reporter {
  return {
    onTestRunEnd: (modules) => {
      const tests = modules.flatMap((module) => [...module.children.allTests()]);
      const count = (state: string) => tests.filter((test) => test.result().state === state).length;
      const notRun = tests.filter((test) => whyNotRun(test) !== undefined);
      for (const test of notRun) say(`not run: ${test.name}\n         ${whyNotRun(test)}`);
      say(`\nThe contract: ${count("passed")} held, ${count("failed")} broken, ${notRun.length} not run.`);
    },
  };
}

/** What only does not match the pattern asked for has no reason, and is not worth a word. */
function whyNotRun(test: TestCase): string | undefined {
  const result = test.result();
  return result.state === "skipped" ? result.note : undefined;
}
