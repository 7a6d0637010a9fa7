// A worker that renders PDFs: it leases twenty tasks, does them, tells so, and acks. Run by pdf-tasks.ts.

import { ack } from "../../test/support/client.ts";
import { broker, consume, reach, subscription, tell } from "./consumer.ts";

await consume({ max: 20, ackDeadlineMs: 2_000 }, async (tasks) => {
  reach("leased", `${tasks.length} tasks`);
  tell({ done: tasks.map(({ id }) => id) });
  await ack(broker, subscription, tasks);
});
