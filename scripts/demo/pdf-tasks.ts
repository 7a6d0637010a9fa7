// Scenario 3: a thousand tasks on a queue, five competing workers, one of which dies holding leases.

import { call, caughtUp, publishStored } from "../../test/support/client.ts";
import { until } from "../../test/support/until.ts";
import type { Scenario, Stage } from "./stage.ts";
import { supervise } from "./supervisor.ts";

const QUEUE = "/v1/queues/pdf-tasks";
const TASKS = 1_000;
const PER_PUBLISH = 100;
const WORKERS = ["worker-1", "worker-2", "worker-3", "worker-4", "worker-5"];
const DOOMED = "worker-3";

export const pdfTasks: Scenario = {
  title: "PDF tasks: five workers share a thousand tasks, one dies holding leases",
  play: async (stage) => {
    const { broker, say, check } = stage;
    await call(broker, "PUT", QUEUE, { json: { retry: { minDelayMs: 20, maxDelayMs: 100 } } });
    const done = new Map<string, string[]>(WORKERS.map((name) => [name, []]));
    const workers = WORKERS.map((name) => startWorker(stage, name, done.get(name) ?? []));
    await Promise.all(workers.map(({ ready }) => ready));
    const tasks = await publishTasks(stage);
    await until("every task is settled", () => caughtUp(broker, QUEUE, TASKS));
    for (const [name, tasksDone] of done) say("share", `${name} did ${tasksDone.length} tasks`);
    check("one worker died holding leases", workers.map(({ kills }) => kills.length).sort(), [0, 0, 0, 0, 1]);
    const allDone = [...done.values()].flat();
    say("repeated", `${allDone.length - tasks.length} tasks were done a second time`);
    check("every task was done, none was lost", [...new Set(allDone)].sort(), tasks);
  },
};

function startWorker(stage: Stage, name: string, tasksDone: string[]) {
  return supervise(stage, {
    name,
    script: "pdf-worker.ts",
    subscription: QUEUE,
    revive: false,
    killAt: name === DOOMED ? ["leased:2"] : [],
    onLine: (line) => {
      if ("done" in line) tasksDone.push(...line.done);
    },
  });
}

async function publishTasks({ broker, say }: Stage): Promise<string[]> {
  const ids = Array.from({ length: TASKS }, (_, index) => `task-${String(index + 1).padStart(4, "0")}`);
  for (let from = 0; from < TASKS; from += PER_PUBLISH) {
    const batch = ids.slice(from, from + PER_PUBLISH).map((id) => ({ id, data: { render: `${id}.pdf` } }));
    await publishStored(broker, QUEUE, batch);
  }
  say("published", `${ids.length} tasks`);
  return ids;
}
