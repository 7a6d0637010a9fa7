// Security: where webhooks go, and where they do not. Asked of any deployment: what is refused here is refused by a
// local one too.

import { expect, test } from "vitest";
import { codeOf } from "../support/contract-client";
import { PATIENT, pushTo } from "../support/contract-scenes";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();

test.each([
  ["an address of a private network", "https://10.0.0.1/"],
  ["the same, in one number", "https://167772161/"],
  ["an IPv4 address in IPv6's clothes", "https://[::ffff:10.0.0.1]/"],
  ["a cloud's metadata service", "https://metadata.google.internal/computeMetadata/v1/"],
  ["a name that spells a private address", "https://10.0.0.1.nip.io/"],
  ["a user name and a password", "https://user:secret@example.com/"],
  ["a line break", "https://example.com/\r\nx: y"],
  ["another protocol", "ftp://example.com/"],
])("security: an endpoint's URL with %s is refused when it is set", async (_, url) => {
  const topic = await broker.topic();
  const json = { type: "push", endpoint: { url } };
  const { status, body } = await broker.send("PUT", `${topic.path}/subscriptions/s`, { json });
  expect([status, codeOf(body), body.field]).toEqual([400, "invalid-request", "endpoint.url"]);
  expect(JSON.stringify(body)).not.toContain("secret");
  expect((await broker.send("GET", `${topic.path}/subscriptions/s`)).status).toBe(404);
});

test("security: a redirect is not followed, and its attempt has failed", async () => {
  const [topic, receiver, elsewhere] = [
    await broker.topic(),
    await broker.receiver(),
    await broker.receiver(),
  ];
  receiver.answer(() => ({ status: 307, headers: { location: elsewhere.url } }));
  const subscription = await topic.subscribe(pushTo(receiver, { maxAttempts: 1, ...PATIENT }));
  await topic.publish({ data: "x" });
  const letter = await broker.eventually(
    "it is a dead letter",
    async () => (await subscription.deadLetters())[0],
  );
  expect(letter.history).toMatchObject([{ status: 307, error: "redirects are not followed" }]);
  expect([receiver.hooks.length, elsewhere.hooks.length]).toEqual([1, 0]);
});

test("security: of an endless answer only the beginning is read and kept", async () => {
  const [topic, receiver] = [await broker.topic(), await broker.receiver()];
  receiver.answer(() => ({ status: 500, body: "x".repeat(1_000_000) }));
  const subscription = await topic.subscribe(pushTo(receiver, { maxAttempts: 1, ...PATIENT }));
  await topic.publish({ data: "x" });
  const letter = await broker.eventually(
    "it is a dead letter",
    async () => (await subscription.deadLetters())[0],
  );
  expect(letter.history[0]?.error?.length).toBeLessThanOrEqual(500);
});
