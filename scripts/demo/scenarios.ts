// The scenarios of `npm run demo`, in the order it plays them. The e2e tests play the same.

import { orderCreated } from "./order-created.ts";
import { payments } from "./payments.ts";
import { pdfTasks } from "./pdf-tasks.ts";
import { priceAsked } from "./price-asked.ts";
import { realInput } from "./real-input.ts";
import type { Scenario } from "./stage.ts";
import { welcomeEmail } from "./welcome-email.ts";

export const scenarios: readonly Scenario[] = [
  payments,
  orderCreated,
  pdfTasks,
  welcomeEmail,
  realInput,
  priceAsked,
];
