// Security: an endpoint is sent nothing before it has said that it wants it.

import { Webhook } from "standardwebhooks";
import { expect, test } from "vitest";
import { codeOf } from "../support/contract-client";
import { challengeOf, grant, type Receiver } from "../support/contract-receiver";
import { EAGER, idOf } from "../support/contract-scenes";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();

type Shown = Readonly<{
  version: number;
  endpoint: Readonly<{
    signingSecret?: string;
    verification: Readonly<{ state: string; reason?: string; tries: number; allowedPerMinute?: number }>;
  }>;
}>;
type Fate = Readonly<{ subscriptions: readonly Readonly<{ state: string; why: string }>[] }>;
type Stats = Readonly<{
  total: { endpoint: { state: string }; unread: number; leased: number; waiting: number };
}>;

const settings = ({ url }: Receiver, verification: string, more: object = {}) => ({
  ...{ type: "push", startAt: "earliest", ...EAGER },
  endpoint: { url, verification, ...more },
});

async function scene(verification: string, more: object = {}, answer = grant) {
  const [topic, receiver] = [await broker.topic(), await broker.receiver()];
  receiver.verify(answer);
  const path = `${topic.path}/subscriptions/s`;
  const made = await broker.call<Shown>("PUT", path, { json: settings(receiver, verification, more) });
  const show = async () => (await broker.call<Shown>("GET", path)).endpoint.verification;
  const verify = async () => (await broker.call<Shown>("POST", `${path}/verify`)).endpoint.verification;
  const until = (state: string) =>
    broker.eventually(`it is ${state}`, async () => {
      const verification = await show();
      return verification.state === state ? verification : undefined;
    });
  return { topic, receiver, path, made, show, verify, until };
}

test("security: an unverified endpoint gets nothing, the timeline says why, and once it repeats the challenge what waited is sent", async () => {
  const { topic, receiver, path, made, verify } = await scene("challenge", {}, () => ({
    status: 200,
    body: "ok",
  }));
  expect(made.endpoint.verification.state).toBe("unverified");
  await topic.publish({ id: "m1", data: 1 }, { id: "m2", data: 2 });
  expect(await verify()).toMatchObject({
    state: "unverified",
    reason: "its answer does not repeat the challenge",
  });
  const { total } = await broker.call<Stats>("GET", `${path}/stats`);
  expect(total).toMatchObject({ endpoint: { state: "unverified" }, unread: 2, leased: 0, waiting: 0 });
  const fate = await broker.call<Fate>("GET", `${topic.path}/messages/m1`);
  expect(fate.subscriptions[0]?.why).toContain("Waits for the endpoint to be verified");
  expect(receiver.hooks).toEqual([]);
  const [asked] = receiver.verifications;
  const secret = made.endpoint.signingSecret ?? "";
  expect(
    new Webhook(secret).verify(asked?.text ?? "", Object.fromEntries(asked?.headers ?? [])),
  ).toMatchObject({
    type: "pennypost.verification",
  });
  receiver.verify(({ text }) => ({ status: 200, body: JSON.stringify({ challenge: challengeOf(text) }) }));
  expect(await verify()).toMatchObject({ state: "verified" });
  expect((await receiver.first(2)).map(idOf).sort()).toEqual(["m1", "m2"]);
  const challenges = receiver.verifications.map(({ text }) => challengeOf(text));
  expect(new Set(challenges).size).toBe(challenges.length);
});

test("security: nobody has to ask: an endpoint that grants it is verified by itself, and sent what waits", async () => {
  const { topic, receiver, until, verify } = await scene("challenge");
  await topic.publish({ id: "m", data: 1 });
  await receiver.first(1);
  const { tries } = await until("verified");
  expect(await verify()).toMatchObject({ state: "verified", tries });
  expect(receiver.verifications.length).toBe(tries);
});

test("security: the CloudEvents handshake is granted by its headers alone, and the rate that it allows is kept to", async () => {
  const more = { rateLimit: { perSecond: 100 } };
  const { topic, receiver, verify } = await scene("handshake", more, () => ({ status: 200 }));
  expect((await verify()).reason).toContain("WebHook-Allowed-Origin");
  const origin = receiver.verifications[0]?.headers.get("webhook-request-origin") ?? "";
  expect(origin).not.toBe("");
  expect(receiver.verifications[0]?.headers.get("webhook-request-rate")).toBe("6000");
  receiver.verify(() => ({
    status: 200,
    headers: { "webhook-allowed-origin": origin, "webhook-allowed-rate": "120" },
  }));
  expect(await verify()).toMatchObject({ state: "verified", allowedPerMinute: 120 });
  const at: number[] = [];
  receiver.answer(() => {
    at.push(Date.now());
    return { status: 204 };
  });
  await topic.publish(...["a", "b", "c", "d"].map((id) => ({ id, data: id })));
  const hooks = await receiver.first(4);
  expect((at[3] ?? 0) - (at[0] ?? 0)).toBeGreaterThanOrEqual(1_200);
  expect(hooks.every(({ headers }) => headers.get("webhook-request-origin") === origin)).toBe(true);
});

test("security: a handshake can be granted later, once, by the URL that it gave and by no other", async () => {
  const { receiver, verify, until } = await scene("handshake", {}, () => ({ status: 204 }));
  await verify();
  const callback = new URL(receiver.verifications[0]?.headers.get("webhook-request-callback") ?? "");
  const call = (path: string, headers = {}) => broker.send("GET", path, { token: null, headers });
  const flipped = callback.pathname.replace(/.$/, (last) => (last === "A" ? "B" : "A"));
  const forged = callback.pathname.slice(0, -10) + callback.pathname.slice(-10).split("").reverse().join("");
  for (const path of [forged, `${flipped}AA`]) expect((await call(path)).status).toBe(404);
  const bad = await call(callback.pathname, { "webhook-allowed-rate": "0" });
  expect([bad.status, codeOf(bad.body)]).toEqual([400, "invalid-request"]);
  expect((await call(callback.pathname, { "webhook-allowed-rate": "600" })).status).toBe(200);
  expect(await until("verified")).toMatchObject({ allowedPerMinute: 600 });
  expect((await call(callback.pathname)).status).toBe(404);
});

test("security: another URL is unverified again, and the same one stays verified whatever else is set", async () => {
  const { receiver, path, verify } = await scene("challenge");
  expect((await verify()).state).toBe("verified");
  const json = settings(receiver, "challenge", { timeoutMs: 5_000 });
  const same = await broker.call<Shown>("PUT", path, { json });
  expect(same.endpoint.verification.state).toBe("verified");
  expect((await broker.call<Shown>("PUT", path, { json })).version).toBe(same.version);
  const other = await broker.receiver();
  other.verify(() => ({ status: 404 }));
  const moved = await broker.call<Shown>("PUT", path, { json: settings(other, "challenge") });
  expect(moved.endpoint.verification).toMatchObject({ state: "unverified", tries: 0 });
});

test("security: a subscription that asks for no verification has nothing to verify", async () => {
  const topic = await broker.topic();
  const { path } = await topic.subscribe({ type: "pull" });
  const { status, body } = await broker.send("POST", `${path}/verify`);
  expect([status, codeOf(body)]).toEqual([409, "conflict"]);
});
