// The scenarios of `npm run demo`, in the order it plays them. The e2e tests play the same, with a smaller backlog.

import { comeback } from "./comeback.ts";
import { fanOut } from "./fan-out.ts";
import { orderCreated } from "./order-created.ts";
import { payments } from "./payments.ts";
import { pdfTasks } from "./pdf-tasks.ts";
import { priceAsked } from "./price-asked.ts";
import { realInput } from "./real-input.ts";
import type { Scenario } from "./stage.ts";
import { welcomeEmail } from "./welcome-email.ts";

/** All of them; `backlog` messages wait for the endpoint that comes back. */
export function scenariosWith({ backlog }: { backlog: number }): readonly Scenario[] {
  return [payments, orderCreated, pdfTasks, welcomeEmail, realInput, priceAsked, fanOut, comeback(backlog)];
}
