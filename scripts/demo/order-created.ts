// Scenario 2: one topic, three webhooks. Billing answers 500 three times, shipping is down and comes back, and yet
// all three receive every step of every order, signed, and in order.

import { Webhook } from "standardwebhooks";
import { call, caughtUp, publishStored, stats } from "../../test/support/client.ts";
import { until } from "../../test/support/until.ts";
import { type Received, type Receiver, startReceiver } from "../../test/support/webhook-receiver.ts";
import type { Scenario, Stage } from "./stage.ts";

const TOPIC = "/v1/topics/order.created";
const ORDERS = 20;
const STEPS = ["created", "confirmed", "packed"];
const BILLING_FAILURES = 3;

type OrderStep = { orderId: string; step: string };

/** One of the three: its endpoint, and what it has accepted, as `order:step`, in the order of arrival. */
type Shop = {
  name: string;
  receiver: Receiver;
  /** Verifies signatures with the secret that the broker made. */
  webhook?: Webhook;
  accepted: string[];
  unsigned: number;
  failures: number;
  failuresLeft: number;
};

export const orderCreated: Scenario = {
  title: "Order created: three webhooks, one failing, one down",
  play: async (stage) => {
    await call(stage.broker, "PUT", TOPIC, { json: { partitions: 2 } });
    const inventory = await openShop(stage, "inventory", 0);
    const billing = await openShop(stage, "billing", BILLING_FAILURES);
    const shipping = await openShop(stage, "shipping", 0);
    await shipping.receiver.down();
    stage.say("down", "shipping refuses connections");
    await publishOrders(stage);
    await served(stage, inventory);
    await served(stage, billing);
    const { waiting, unread } = await until("every delivery to shipping waits for it", async () => {
      const counters = await stats(stage.broker, subscriptionOf(shipping.name));
      const isWhole = counters.waiting + counters.unread === ORDERS * STEPS.length;
      return counters.settled === 0 && isWhole && counters;
    });
    stage.say(
      "left alone",
      `${waiting} deliveries failed at shipping, ${unread} were never tried: all of them wait`,
    );
    await shipping.receiver.up();
    // It would be probed within seconds, or minutes after a long outage. Told so, the broker probes it at once.
    await call(stage.broker, "POST", `${subscriptionOf(shipping.name)}/resume`);
    stage.say("up", "shipping is back");
    await served(stage, shipping);
    for (const shop of [inventory, billing, shipping]) checkOrders(stage, shop);
    stage.check("billing answered 500 three times", billing.failures, BILLING_FAILURES);
  },
};

function subscriptionOf(name: string): string {
  return `${TOPIC}/subscriptions/${name}`;
}

async function openShop(stage: Stage, name: string, failuresLeft: number): Promise<Shop> {
  const receiver = await startReceiver((received) => ({ status: serve(stage, shop, received) }));
  stage.atEnd(receiver.down);
  const shop: Shop = { name, receiver, accepted: [], unsigned: 0, failures: 0, failuresLeft };
  const json = { type: "push", endpoint: { url: receiver.url }, retry: { minDelayMs: 50, maxDelayMs: 400 } };
  type Created = { endpoint: { signingSecret: string } };
  const { endpoint } = await call<Created>(stage.broker, "PUT", subscriptionOf(name), { json });
  shop.webhook = new Webhook(endpoint.signingSecret);
  return shop;
}

function isSigned({ webhook }: Shop, { body, headers }: Received): boolean {
  try {
    return webhook?.verify(body, headers) !== undefined;
  } catch {
    return false;
  }
}

function serve({ say }: Stage, shop: Shop, received: Received): number {
  if (!isSigned(shop, received)) {
    shop.unsigned += 1;
    return 401;
  }
  const { body, headers } = received;
  const { orderId, step } = JSON.parse(body.toString()) as OrderStep;
  if (shop.failuresLeft > 0) {
    shop.failuresLeft -= 1;
    shop.failures += 1;
    say("refused", `${shop.name} answered 500 to ${orderId} ${step} (${headers["webhook-id"]})`);
    return 500;
  }
  shop.accepted.push(`${orderId}:${step}`);
  if (step === STEPS.at(-1)) say("delivered", `${shop.name} has the last step of ${orderId}`);
  return 204;
}

async function publishOrders({ broker, say }: Stage): Promise<void> {
  for (const step of STEPS) {
    const messages = orderIds().map((orderId) => ({ orderingKey: orderId, data: { orderId, step } }));
    const stored = await publishStored(broker, TOPIC, messages);
    say("published", `${stored.length} orders ${step}`);
  }
}

function orderIds(): string[] {
  return Array.from({ length: ORDERS }, (_, index) => `order-${String(index + 1).padStart(2, "0")}`);
}

async function served({ broker, say }: Stage, { name }: Shop): Promise<void> {
  const total = ORDERS * STEPS.length;
  await until(`${name} has every order`, () => caughtUp(broker, subscriptionOf(name), total));
  say("settled", `${name} has all ${total}`);
}

function checkOrders({ check }: Stage, { name, accepted, unsigned }: Shop): void {
  const inOrder = orderIds().map((orderId) => STEPS.map((step) => `${orderId}:${step}`));
  const received = orderIds().map((orderId) => accepted.filter((each) => each.startsWith(`${orderId}:`)));
  check(`${name} received every order once, its steps in order`, received, inOrder);
  check(`${name} verified every signature`, unsigned, 0);
}
