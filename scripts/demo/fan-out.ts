// Scenario 7: one topic, five webhooks that ask for different things by subject and by what is in the body. Each is
// sent what it asked for and nothing else, and what was not for it is counted.

import { call, caughtUp, publishStored, stats } from "../../test/support/client.ts";
import { until } from "../../test/support/until.ts";
import { startReceiver } from "../../test/support/webhook-receiver.ts";
import type { Scenario, Stage } from "./stage.ts";

const TOPIC = "/v1/topics/shop";
const SUBJECTS = ["orders.eu.created", "orders.us.created", "orders.eu.cancelled", "payments.eu.settled"];
const OF_EACH = 100;
const CENTS_APART = 250;
const LARGE_CENTS = 20_000;

type Event = Readonly<{ id: string; subject: string; data: Readonly<{ cents: number }> }>;
type Desk = Readonly<{
  name: string;
  /** In words. */
  wants: string;
  filter?: object;
  /** What the filter says, said again without the broker. */
  isFor: (event: Event) => boolean;
}>;

const DESKS: readonly Desk[] = [
  { name: "archive", wants: "everything", isFor: () => true },
  {
    ...{ name: "orders", wants: "orders.#", filter: { subject: ["orders.#"] } },
    isFor: ({ subject }) => subject.startsWith("orders."),
  },
  {
    ...{ name: "europe", wants: "*.eu.*", filter: { subject: ["*.eu.*"] } },
    isFor: ({ subject }) => subject.split(".")[1] === "eu",
  },
  {
    ...{ name: "large-orders", wants: `orders.*.created from ${LARGE_CENTS} cents on` },
    filter: { subject: ["orders.*.created"], body: { cents: [{ numeric: [">=", LARGE_CENTS] }] } },
    isFor: ({ subject, data }) => /^orders\.\w+\.created$/.test(subject) && data.cents >= LARGE_CENTS,
  },
  { name: "refunds", wants: "refunds.#", filter: { subject: ["refunds.#"] }, isFor: () => false },
];

export const fanOut: Scenario = {
  title: "Fan-out: five webhooks choose by subject and body, and get what they chose",
  play: async (stage) => {
    const { broker, say } = stage;
    await call(broker, "PUT", TOPIC, { json: { partitions: 2 } });
    const received = new Map<string, string[]>();
    for (const desk of DESKS) received.set(desk.name, await openDesk(stage, desk));
    const events = shopEvents();
    for (const subject of SUBJECTS) {
      await publishStored(
        broker,
        TOPIC,
        events.filter((event) => event.subject === subject),
      );
      say("published", `${OF_EACH} ${subject}`);
    }
    for (const desk of DESKS) await checkDesk(stage, desk, events, received.get(desk.name) ?? []);
  },
};

function subscriptionOf({ name }: Desk): string {
  return `${TOPIC}/subscriptions/${name}`;
}

/** Its webhook, and the ids of what that is sent. */
async function openDesk({ broker, atEnd }: Stage, desk: Desk): Promise<string[]> {
  const ids: string[] = [];
  const receiver = await startReceiver(({ headers }) => {
    ids.push(headers["webhook-id"] ?? "");
    return { status: 204 };
  });
  atEnd(receiver.down);
  const { filter } = desk;
  const json = { type: "push", endpoint: { url: receiver.url }, ...(filter && { filter }) };
  await call(broker, "PUT", subscriptionOf(desk), { json });
  return ids;
}

function shopEvents(): Event[] {
  return SUBJECTS.flatMap((subject) =>
    Array.from({ length: OF_EACH }, (_, index) => ({
      id: `${subject.replaceAll(".", "-")}-${String(index + 1).padStart(3, "0")}`,
      ...{ subject, data: { cents: (index + 1) * CENTS_APART } },
    })),
  );
}

async function checkDesk(
  { broker, say, check }: Stage,
  desk: Desk,
  events: readonly Event[],
  received: readonly string[],
): Promise<void> {
  const expected = events.filter(desk.isFor).map(({ id }) => id);
  await until(`${desk.name} is through`, () => caughtUp(broker, subscriptionOf(desk), expected.length));
  const { settled, filtered } = await stats(broker, subscriptionOf(desk));
  say(
    "fanned out",
    `${desk.name} wants ${desk.wants}: ${received.length} delivered, ${filtered} filtered out`,
  );
  check(`${desk.name} got exactly what it wants`, [...received].sort(), expected.sort());
  check(`every event is accounted for at ${desk.name}`, settled + filtered, events.length);
}
