// A consumer with a database of its own: the message id goes into the transaction that makes the entry, so
// the two cannot part. Run by payments.ts.

import { ack } from "../../test/support/client.ts";
import { openBooks, type Payment } from "./books.ts";
import { broker, consume, reach, subscription } from "./consumer.ts";

const books = openBooks(process.env.BOOKS ?? ":memory:");

await consume({ max: 4, ackDeadlineMs: 1_000 }, async (messages) => {
  for (const message of messages) {
    reach("leased", message.id);
    books.begin();
    if (books.remember(message.id)) books.enter(JSON.parse(message.data) as Payment);
    reach("entered", message.id);
    books.commit();
    reach("committed", message.id);
    await ack(broker, subscription, [message]);
    reach("acked", message.id);
  }
});
