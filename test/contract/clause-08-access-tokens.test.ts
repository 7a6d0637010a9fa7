// Clause 8: an endpoint that asks for an access token (OAuth 2.0 client credentials), with a real issuer and a real endpoint.

import { expect, test } from "vitest";
import type { Receiver } from "../support/contract-receiver";
import { attemptOf, idOf, pushTo } from "../support/contract-scenes";
import { brokerUnderTest } from "../support/contract-target";

type Timeline = Readonly<{ subscriptions: readonly Readonly<{ state: string; attempts?: number }>[] }>;

const broker = await brokerUnderTest();
const JSON_TYPE = { "content-type": "application/json" };

/** An issuer whose nth token is `token-{n}`. */
function issue(issuer: Receiver): void {
  issuer.answer((_, index) => ({
    ...{ status: 200, headers: JSON_TYPE },
    body: JSON.stringify({ access_token: `token-${index + 1}`, token_type: "Bearer", expires_in: 3_600 }),
  }));
}

async function scene(more: object = {}) {
  const [topic, receiver, issuer] = [await broker.topic(), await broker.receiver(), await broker.receiver()];
  const client = { clientId: "pennypost", clientSecret: "hunter2-hunter2" };
  const auth = { type: "oauth2", tokenUrl: issuer.url, ...client, ...more };
  const subscription = await topic.subscribe(pushTo(receiver, { endpoint: { url: receiver.url, auth } }));
  return { topic, receiver, issuer, subscription };
}

test("clause 8: a token that its endpoint refuses is exchanged for another within the attempt, and then used by all", async () => {
  const { topic, receiver, issuer } = await scene();
  issue(issuer);
  receiver.answer(({ headers }) => ({
    status: headers.get("authorization") === "Bearer token-1" ? 401 : 204,
  }));
  await topic.publish({ id: "a", data: 1 });
  const hooks = await receiver.first(2);
  expect(hooks.map((hook) => [idOf(hook), attemptOf(hook), hook.headers.get("authorization")])).toEqual([
    ["a", 1, "Bearer token-1"],
    ["a", 1, "Bearer token-2"],
  ]);
  await topic.publish({ id: "b", data: 2 });
  const [, , third] = await receiver.first(3);
  expect(third?.headers.get("authorization")).toBe("Bearer token-2");
  expect(issuer.hooks).toHaveLength(2);
});

test("clause 8: a fresh token that is refused too fails the attempt, once", async () => {
  const { topic, receiver, issuer, subscription } = await scene();
  issue(issuer);
  receiver.answer(() => ({ status: 401 }));
  const path = subscription.path;
  const auth = { type: "oauth2", tokenUrl: issuer.url, clientId: "other", clientSecret: "hunter2-hunter2" };
  const json = pushTo(receiver, {
    endpoint: { url: receiver.url, auth },
    maxAttempts: 1,
    onExhausted: "skip",
  });
  await broker.call("PUT", path, { json });
  await topic.publish({ id: "a", data: 1 });
  const [dead] = await broker.eventually("it is dead", async () => {
    const dead = await subscription.deadLetters();
    return dead.length === 1 ? dead : undefined;
  });
  expect(dead).toMatchObject({ attempts: 1, history: [{ status: 401 }] });
  expect(receiver.hooks).toHaveLength(2);
});

test("clause 8: while no token can be had nothing is sent and no attempt is counted, and the client may show itself in the body", async () => {
  const more = { clientAuthentication: "body", audience: "hooks", scope: "a b" };
  const { topic, receiver, issuer } = await scene(more);
  issuer.answer(() => ({ status: 503 }));
  await topic.publish({ id: "a", data: 1 });
  const [asked] = await issuer.first(1);
  expect(asked?.headers.has("authorization")).toBe(false);
  expect(Object.fromEntries(new URLSearchParams(asked?.text))).toEqual({
    ...{ grant_type: "client_credentials", scope: "a b", audience: "hooks" },
    ...{ client_id: "pennypost", client_secret: "hunter2-hunter2" },
  });
  const said = await broker.eventually("it waits, and says for what", async () => {
    const timeline = await broker.call<Timeline>("GET", `${topic.path}/messages/a`);
    return timeline.subscriptions[0]?.state === "waiting" ? timeline.subscriptions[0] : undefined;
  });
  expect(said).toMatchObject({ attempts: 0 });
  expect(JSON.stringify(said)).toMatch(/token/i);
  expect(JSON.stringify(said)).not.toContain("hunter2");
  expect(receiver.hooks).toEqual([]);
});
