// Scenario 8: an endpoint is down while a backlog grows, and comes back. It is not knocked over: it is sent one request
// a second, then twice as many each second, up to the rate it says it can bear, until all has arrived in order.

import { call, caughtUp, publishStored, stats } from "../../test/support/client.ts";
import { until } from "../../test/support/until.ts";
import { type Received, type Receiver, startReceiver } from "../../test/support/webhook-receiver.ts";
import type { Scenario, Stage } from "./stage.ts";

const TOPIC = "/v1/topics/invoices";
const SUBSCRIPTION = `${TOPIC}/subscriptions/archive`;
const CUSTOMERS = 25;
const PER_PUBLISH = 100;
const DRAIN_PER_SECOND = 100;
/** Requests are sent so far apart that a second has no more. On their way they may bunch, as many as are under way at once. */
const UNDER_WAY = 6;
/** In a row, of what is tried while it is well; what was under way meanwhile comes on top, and a probe now and then. */
const TRIED_WHILE_DOWN = 40;
const BAR = 2;

type Invoice = Readonly<{ customer: string; number: number }>;
/** The endpoint, and what it has seen: instants in milliseconds. */
type Archive = {
  receiver: Receiver;
  isDown: boolean;
  refused: number;
  arrivals: { at: number; invoice: Invoice }[];
};

/** The scenario with so many messages waiting. It lasts a second for each hundred, and ten more. */
export function comeback(backlog: number): Scenario {
  return {
    title: `Comeback: an endpoint returns to a backlog of ${backlog} and is not knocked over`,
    play: async (stage) => {
      const archive = await openArchive(stage);
      stage.say("down", "the archive answers 503");
      await publishInvoices(stage, backlog);
      await leftAlone(stage, archive, backlog);
      archive.isDown = false;
      stage.say("up", `the archive is back, and bears ${DRAIN_PER_SECOND} requests a second`);
      await call(stage.broker, "POST", `${SUBSCRIPTION}/resume`);
      await until("every invoice has arrived", () => caughtUp(stage.broker, SUBSCRIPTION, backlog), {
        withinMs: 60_000 + (backlog / DRAIN_PER_SECOND) * 2_000,
      });
      checkRate(stage, archive);
      checkInvoices(stage, archive, backlog);
    },
  };
}

async function openArchive({ broker, atEnd }: Stage): Promise<Archive> {
  const receiver = await startReceiver((received) => ({ status: serve(archive, received) }));
  atEnd(receiver.down);
  const archive: Archive = { receiver, isDown: true, refused: 0, arrivals: [] };
  await call(broker, "PUT", TOPIC, { json: { partitions: 1 } });
  const endpoint = { url: receiver.url, drainPerSecond: DRAIN_PER_SECOND };
  const json = { type: "push", endpoint, retry: { minDelayMs: 50, maxDelayMs: 400 } };
  await call(broker, "PUT", SUBSCRIPTION, { json });
  return archive;
}

function serve(archive: Archive, { body }: Received): number {
  if (archive.isDown) {
    archive.refused += 1;
    return 503;
  }
  archive.arrivals.push({ at: performance.now(), invoice: JSON.parse(body.toString()) as Invoice });
  return 204;
}

async function publishInvoices({ broker, say }: Stage, backlog: number): Promise<void> {
  const messages = invoices(backlog).map((data) => ({ orderingKey: data.customer, data }));
  for (let from = 0; from < backlog; from += PER_PUBLISH) {
    await publishStored(broker, TOPIC, messages.slice(from, from + PER_PUBLISH));
  }
  say("published", `${backlog} invoices of ${CUSTOMERS} customers`);
}

function invoices(backlog: number): Invoice[] {
  return Array.from({ length: backlog }, (_, index) => ({
    customer: `customer-${String((index % CUSTOMERS) + 1).padStart(2, "0")}`,
    number: Math.floor(index / CUSTOMERS) + 1,
  }));
}

async function leftAlone({ broker, say, check }: Stage, archive: Archive, backlog: number): Promise<void> {
  const { waiting, unread, endpoint } = await until("the archive is left alone", async () => {
    const counters = await stats(broker, SUBSCRIPTION);
    const isWhole = counters.waiting + counters.unread === backlog;
    return counters.endpoint?.state === "open" && isWhole && counters;
  });
  say("left alone", `${archive.refused} requests were refused, then no more: ${endpoint?.reason}`);
  say("waiting", `${waiting} deliveries wait, ${unread} messages were not yet read`);
  check("the outage cost it few requests", archive.refused <= TRIED_WHILE_DOWN, true);
}

function checkRate({ say, check }: Stage, { arrivals }: Archive): void {
  const instants = arrivals.map(({ at }) => at);
  const perSecond = bySecond(instants);
  for (const [second, count] of perSecond.entries()) {
    say(`second ${second + 1}`, `${String(count).padStart(4)} ${"#".repeat(Math.ceil(count / BAR))}`);
  }
  const most = busiestSecond(instants);
  say("at most", `${most} requests in any second`);
  const bound = DRAIN_PER_SECOND + UNDER_WAY;
  check(`never more than ${DRAIN_PER_SECOND} a second, and what was under way`, Math.max(most, bound), bound);
  check("it began with a request or two", (perSecond[0] ?? 0) <= 3 && (perSecond[1] ?? 0) <= 7, true);
}

function bySecond(instants: readonly number[]): number[] {
  const first = instants[0] ?? 0;
  const counts: number[] = [];
  for (const at of instants) {
    const second = Math.floor((at - first) / 1000);
    while (counts.length <= second) counts.push(0);
    counts[second] = (counts[second] ?? 0) + 1;
  }
  return counts;
}

/** The most instants that lie within one second, wherever that begins. */
function busiestSecond(instants: readonly number[]): number {
  let [from, most] = [0, 0];
  for (const [index, at] of instants.entries()) {
    while (at - (instants[from] ?? at) >= 1000) from += 1;
    most = Math.max(most, index - from + 1);
  }
  return most;
}

function checkInvoices({ check }: Stage, { arrivals }: Archive, backlog: number): void {
  const ofEach = (all: readonly Invoice[]) =>
    Object.groupBy(all, ({ customer }) => customer) as Readonly<Record<string, readonly Invoice[]>>;
  const received = ofEach(arrivals.map(({ invoice }) => invoice));
  check(
    `all ${backlog} arrived once, each customer's in order`,
    sorted(received),
    sorted(ofEach(invoices(backlog))),
  );
}

function sorted(invoicesOf: Readonly<Record<string, readonly Invoice[]>>) {
  return Object.entries(invoicesOf)
    .map(([customer, all]) => [customer, all.map(({ number }) => number)] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1));
}
