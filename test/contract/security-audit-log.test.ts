// Security: who changed what can be asked afterwards.

import { expect, test } from "vitest";
import { codeOf, unique } from "../support/contract-client";
import { brokerUnderTest } from "../support/contract-target";

type Page = Readonly<{
  records: readonly Readonly<{ actorName: string; action: string; resource: string; details: unknown }>[];
  next: string | null;
}>;

const broker = await brokerUnderTest();
const nameOf = ({ path }: { path: string }) => path.slice("/v1/".length);

test("security: each change of a topic and its subscriptions is in the audit log, newest first, with what it was and is", async () => {
  const topic = await broker.topic({ retentionMs: 60_000 });
  const subscription = await topic.subscribe();
  await subscription.pause();
  await broker.call("PUT", topic.path, { json: { retentionMs: 120_000 } });
  const { records, next } = await broker.call<Page>("GET", `/v1/audit-log?resource=${nameOf(topic)}`);
  expect(records.map(({ action, resource }) => `${action} ${resource}`)).toEqual([
    `change ${nameOf(topic)}`,
    `pause ${nameOf(subscription)}`,
    `create ${nameOf(subscription)}`,
    `create ${nameOf(topic)}`,
  ]);
  expect(records[0]?.details).toEqual({ retentionMs: { from: 60_000, to: 120_000 } });
  expect(next).toBeNull();
});

test("security: a seek and a purge are in the audit log with what they did", async () => {
  const queue = await broker.queue();
  await queue.publish({ data: "x" });
  await queue.nack(await queue.pullAll(1), { deadLetter: true });
  await broker.call("DELETE", `${queue.path}/dead-letters`, { json: { all: true } });
  await broker.call("POST", `${queue.path}/seek`, { json: { to: "latest" } });
  const { records } = await broker.call<Page>("GET", `/v1/audit-log?resource=${nameOf(queue)}&limit=2`);
  expect(records).toMatchObject([
    { action: "seek", outcome: "done", details: { to: "latest" } },
    { action: "purge", outcome: "done", details: { purged: 1 } },
  ]);
});

test("security: the audit log is an admin's to read", async () => {
  const { id, token } = await broker.call<{ id: string; token: string }>("POST", "/v1/tokens", {
    json: { name: "manager", scopes: [{ verb: "manage", topics: "*" }] },
  });
  const refused = await broker.send("GET", "/v1/audit-log", { token });
  expect([refused.status, codeOf(refused.body)]).toEqual([403, "forbidden"]);
  const odd = await broker.send("GET", `/v1/audit-log?since=${unique("x")}`);
  expect([odd.status, odd.body.field]).toEqual([400, "since"]);
  await broker.send("DELETE", `/v1/tokens/${id}`);
});
