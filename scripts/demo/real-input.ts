// Scenario 5: every example payload of GitHub's webhooks, POSTed as GitHub would and sent twice, is pushed to a
// receiver once and byte for byte.

import { createRequire } from "node:module";
import { call, caughtUp, send } from "../../test/support/client.ts";
import { until } from "../../test/support/until.ts";
import { startReceiver } from "../../test/support/webhook-receiver.ts";
import type { Scenario, Stage } from "./stage.ts";

const TOPIC = "/v1/topics/github";
const SUBSCRIPTION = `${TOPIC}/subscriptions/receiver`;
const EDITIONS = ["api.github.com", "ghes-31", "ghes-32", "ghes-33", "ghes-34", "ghes-35"];
const SENDERS = 16;
const TELL_EVERY = 300;

type Delivery = Readonly<{ id: string; event: string; body: string }>;
type Arrival = Readonly<{ id: string; event: string | undefined; body: string }>;

export const realInput: Scenario = {
  title: "Real input: GitHub's own payloads, each sent twice, arrive once and unchanged",
  play: async (stage) => {
    const { broker, say, check } = stage;
    const arrivals: Arrival[] = [];
    await createTopic(stage, arrivals);
    const path = await publishOnlyPath(stage);
    const deliveries = githubDeliveries();
    const ping = { id: "delivery-last", event: "ping", body: '{"zen":"Keep it logically awesome."}' };
    await post(stage, path, [...deliveries, ...deliveries]);
    say("published", `${deliveries.length} deliveries of GitHub, each twice`);
    // The local Cloudflare Queue hands on in order: once the last has arrived, all others have been taken in.
    await post(stage, path, [ping]);
    const expected = [...deliveries, ping].sort(byId);
    await until("every delivery has arrived", () => caughtUp(broker, SUBSCRIPTION, expected.length), {
      withinMs: 60_000,
    });
    say("delivered", `${arrivals.length} to the receiver, ${bytesOf(arrivals)} bytes`);
    check("every payload arrived once, with its event, byte for byte", arrivals.sort(byId), expected);
  },
};

function bytesOf(arrivals: readonly Arrival[]): number {
  return arrivals.reduce((sum, { body }) => sum + Buffer.byteLength(body), 0);
}

function byId(a: Arrival, b: Arrival): number {
  return a.id < b.id ? -1 : 1;
}

/** Every example of every edition, as GitHub would deliver it. */
function githubDeliveries(): Delivery[] {
  const require = createRequire(import.meta.url);
  const examples = EDITIONS.flatMap((edition) => {
    const events = require(`@octokit/webhooks-examples/${edition}/index.json`) as {
      name: string;
      examples: unknown[];
    }[];
    return events.flatMap(({ name, examples }) => examples.map((example) => ({ name, example })));
  });
  return examples.map(({ name, example }, index) => ({
    id: `delivery-${String(index + 1).padStart(4, "0")}`,
    event: name,
    body: JSON.stringify(example),
  }));
}

async function createTopic({ broker, atEnd }: Stage, arrivals: Arrival[]): Promise<void> {
  const receiver = await startReceiver(({ headers, body }) => {
    const id = headers["webhook-id"] ?? "";
    arrivals.push({ id, event: headers["x-github-event"], body: body.toString() });
    return { status: 204 };
  });
  atEnd(receiver.down);
  const topic = { keepHeaders: ["X-GitHub-Event"], idHeader: "X-GitHub-Delivery" };
  await call(broker, "PUT", TOPIC, { json: topic });
  const json = { type: "push", endpoint: { url: receiver.url }, startAt: "earliest" };
  await call(broker, "PUT", SUBSCRIPTION, { json });
}

/** Where somebody who can add no header may publish, and nothing else. */
async function publishOnlyPath({ broker }: Stage): Promise<string> {
  const json = { name: "github", scopes: [{ verb: "publish", topics: "github" }] };
  const { token } = await call<{ token: string }>(broker, "POST", "/v1/tokens", { json });
  return `/v1/in/${token}`;
}

async function post({ broker, say }: Stage, path: string, deliveries: readonly Delivery[]): Promise<void> {
  const anonymous = { url: broker.url, token: "" };
  const rest = [...deliveries];
  let posted = 0;
  const sendOn = async () => {
    for (let next = rest.shift(); next !== undefined; next = rest.shift()) {
      const headers = {
        "content-type": "application/json",
        "user-agent": "GitHub-Hookshot/044aadd",
        "x-github-delivery": next.id,
        "x-github-event": next.event,
      };
      const { status } = await send(anonymous, "POST", path, { body: next.body, headers });
      if (status !== 202) throw new Error(`${next.id} was answered ${status}`);
      posted += 1;
      if (posted % TELL_EVERY === 0) say("published", `${posted} of ${deliveries.length}`);
    }
  };
  await Promise.all(Array.from({ length: SENDERS }, sendOn));
}
