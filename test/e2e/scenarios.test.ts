// The scenarios of `npm run demo`, each as a test, against one broker under `wrangler dev`.

import { afterAll, beforeAll, expect, test } from "vitest";
import { scenariosWith } from "../../scripts/demo/scenarios.ts";
import { perform } from "../../scripts/demo/stage.ts";
import { type Broker, startBroker } from "../support/broker.ts";

const scenarios = scenariosWith({ backlog: 400 });
let broker: Broker;
beforeAll(async () => {
  broker = await startBroker();
});
afterAll(() => broker?.stop());

test.each(scenarios)("$title", async (scenario) => {
  const checked: string[] = [];
  await perform(scenario, broker, {
    say: (what, details) => {
      if (what === "checked") checked.push(details);
    },
  });
  expect(checked).not.toEqual([]);
});
