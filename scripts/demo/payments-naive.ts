// How not to do it: the message id is remembered first, on its own. Killed between that and the entry, the
// consumer takes the redelivery for a duplicate, and the payment is lost. Run by payments.ts.

import { ack } from "../../test/support/client.ts";
import { openBooks, type Payment } from "./books.ts";
import { broker, consume, reach, subscription } from "./consumer.ts";

const books = openBooks(process.env.BOOKS ?? ":memory:");

await consume({ max: 4, ackDeadlineMs: 1_000 }, async (messages) => {
  for (const message of messages) {
    const isNew = books.remember(message.id);
    reach("remembered", message.id);
    if (isNew) books.enter(JSON.parse(message.data) as Payment);
    await ack(broker, subscription, [message]);
  }
});
