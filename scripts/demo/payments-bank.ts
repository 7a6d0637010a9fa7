// A consumer without a transaction to share: it claims the message id in the broker's ledger, calls the bank with
// that id as idempotency key, completes the claim, and acks last. Run by payments.ts.

import { ack, call, nack, type Pulled, send } from "../../test/support/client.ts";
import { broker, consume, reach, subscription } from "./consumer.ts";

type ClaimAnswer = { state: string; fence: number };

const { BANK_URL = "" } = process.env;
const claimant = `bank-${process.pid}`;
const claims = "/v1/ledgers/bank/claims";
const LEASE_MS = 1_500;

await consume({ max: 4, ackDeadlineMs: 1_000 }, async (messages) => {
  for (const message of messages) await pay(message);
});

async function pay(message: Pulled): Promise<void> {
  reach("leased", message.id);
  const claim = await send<ClaimAnswer>(broker, "POST", claims, {
    json: { messageId: message.id, claimant, leaseMs: LEASE_MS },
  });
  if (claim.status === 409) return giveBack(message, claim.headers);
  if (claim.status === 201) await payOnce(message, claim.body.fence);
  else if (claim.status !== 200) throw new Error(`claim answered ${claim.status}`);
  await ack(broker, subscription, [message]);
  reach("acked", message.id);
}

async function payOnce(message: Pulled, fence: number): Promise<void> {
  reach("claimed", message.id);
  const bank = { url: BANK_URL, token: "" };
  const headers = { "idempotency-key": message.id, "content-type": "application/json" };
  const transfer = await call<{ transfer: string }>(bank, "POST", "transfers", {
    body: message.data,
    headers,
  });
  reach("transferred", message.id);
  await call(broker, "POST", `${claims}/${encodeURIComponent(message.id)}/complete`, {
    json: { fence, result: transfer.transfer },
  });
  reach("completed", message.id);
}

/** Somebody holds the claim, perhaps somebody who was killed: come back when it ends. */
async function giveBack(message: Pulled, headers: Headers): Promise<void> {
  const delayMs = Number(headers.get("retry-after") ?? "1") * 1_000;
  await nack(broker, subscription, [message], { delayMs, reason: "claimed by another" });
}
