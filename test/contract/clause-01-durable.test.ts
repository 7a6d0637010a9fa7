// Clause 1: a 2xx means durable.

import { expect, test } from "vitest";
import { codeOf, unique } from "../support/contract-client";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();

test("clause 1: a 201 says where the message is stored, and there it is", async () => {
  const topic = await broker.topic();
  const answer = await topic.publishRaw("Hello", { prefer: "wait", "content-type": "text/plain" });
  expect(answer).toMatchObject({ status: 201, body: { status: "stored" } });
  const [stored] = answer.body.messages;
  expect(stored).toMatchObject({ partition: 0, offset: 0, duplicate: false });
  const [delivered] = await (await topic.subscribe()).pullAll(1);
  expect(delivered).toMatchObject({ id: stored?.id, partition: 0, offset: 0, data: "Hello" });
});

test("clause 1: a message that was answered 202 arrives", async () => {
  const topic = await broker.topic();
  const subscription = await topic.subscribe();
  const answer = await topic.publishRaw("Hello");
  expect(answer).toMatchObject({ status: 202, body: { status: "accepted" } });
  const [delivered] = await subscription.pullAll(1);
  expect(delivered).toMatchObject({ id: answer.body.messages[0]?.id, data: "Hello" });
});

test("clause 1: every byte and every word of a message arrives as it was sent", async () => {
  const topic = await broker.topic();
  const everyByte = Uint8Array.from({ length: 256 }, (_, i) => i);
  await topic.publishRaw(everyByte, {
    prefer: "wait",
    "content-type": "application/x-every-byte",
    "pennypost-attr-colour": "blue",
  });
  await topic.publishRaw("", { prefer: "wait", "content-type": "text/plain" });
  const [binary, empty] = await (await topic.subscribe()).pullAll(2);
  expect(binary).toMatchObject({
    dataBase64: btoa(String.fromCharCode(...everyByte)),
    contentType: "application/x-every-byte",
    attributes: { colour: "blue" },
  });
  expect(binary).not.toHaveProperty("data");
  expect(empty).toMatchObject({ data: "", contentType: "text/plain" });
});

test("clause 1: a sender that can set no header publishes with a token in the URL, and does nothing else with it", async () => {
  const topic = await broker.topic({ keepHeaders: ["X-GitHub-Event"], idHeader: "X-GitHub-Delivery" });
  const name = topic.path.slice("/v1/topics/".length);
  const { token } = await broker.call<{ token: string }>("POST", "/v1/tokens", {
    json: { name: "github", scopes: [{ verb: "publish", topics: name }] },
  });
  const headers = {
    "content-type": "application/json",
    "x-github-event": "push",
    "x-github-delivery": "d-1",
    prefer: "wait",
  };
  const options = { body: '{"ref": "main"}', headers, token: null };
  expect((await broker.send("POST", `/v1/in/${token}`, options)).status).toBe(201);
  expect((await broker.send("POST", `/v1/in/${token}`, options)).status).toBe(201);
  const subscription = await topic.subscribe();
  expect(await subscription.pullAll(1)).toMatchObject([
    { id: "d-1", data: '{"ref": "main"}', headers: { "x-github-event": "push" } },
  ]);
  expect(await subscription.pull()).toEqual([]);
  const pulled = await broker.send("POST", `${subscription.path}/pull`, { json: {}, token });
  expect([pulled.status, codeOf(pulled.body)]).toEqual([403, "forbidden"]);
});

test("clause 1: what is refused is not stored", async () => {
  const topic = await broker.topic();
  const missing = await broker.topicAt(`/v1/topics/${unique("missing")}`).publishRaw("x");
  expect([missing.status, codeOf(missing.body)]).toEqual([404, "topic-not-found"]);
  const bad = await topic.publishRaw("x", { prefer: "wait", "idempotency-key": "has.a.dot" });
  expect([bad.status, codeOf(bad.body)]).toEqual([400, "invalid-request"]);
  expect(await (await topic.subscribe()).pull()).toEqual([]);
});
