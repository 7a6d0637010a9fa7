// Security: tokens, from their making to their end.

import { expect, test } from "vitest";
import { codeOf, unique } from "../support/contract-client";
import { brokerUnderTest } from "../support/contract-target";

type Made = Readonly<{ id: string; name: string; token: string; previousUntil: number | null }>;

const broker = await brokerUnderTest();
const make = (verb: string, topics: string) =>
  broker.call<Made>("POST", "/v1/tokens", { json: { name: "contract", scopes: [{ verb, topics }] } });
const discard = ({ id }: Made) => broker.send("DELETE", `/v1/tokens/${id}`);

test("security: a token has a form that scanners of source code find, and is shown once", async () => {
  const made = await make("publish", unique("topic"));
  expect(made.token).toMatch(/^pennypost_[0-9A-Za-z]{49}$/);
  let after: string | null = "";
  while (after !== null) {
    const query: string = after === "" ? "" : `?after=${after}`;
    const page = await broker.call<{ next: string | null }>("GET", `/v1/tokens${query}`);
    expect(JSON.stringify(page)).not.toContain(made.token);
    after = page.next;
  }
  await discard(made);
});

test("security: a rotated token's new secret works at once, and the one of before until its overlap is over", async () => {
  const topic = await broker.topic();
  const made = await make("manage", topic.path.slice("/v1/topics/".length));
  const rotated = await broker.call<Made>("POST", `/v1/tokens/${made.id}/rotate`, {
    json: { overlapMs: 600_000 },
  });
  expect(rotated).toMatchObject({ id: made.id, name: made.name, previousUntil: expect.any(Number) });
  expect(rotated.token).not.toBe(made.token);
  for (const { token } of [made, rotated]) {
    expect((await broker.send("GET", topic.path, { token })).status).toBe(200);
  }
  await discard(made);
});

test("security: a rotation that is repeated by mistake changes nothing", async () => {
  const topic = await broker.topic();
  const made = await make("manage", topic.path.slice("/v1/topics/".length));
  const path = `/v1/tokens/${made.id}/rotate`;
  const rotated = await broker.call<Made>("POST", path);
  const again = await broker.send("POST", path);
  expect([again.status, codeOf(again.body), again.body.field]).toEqual([409, "conflict", "overlapMs"]);
  expect((await broker.send("GET", topic.path, { token: rotated.token })).status).toBe(200);
  await discard(made);
});

test("security: an overlap beyond thirty days is refused, and a token that is none is not found", async () => {
  const made = await make("publish", unique("topic"));
  const path = `/v1/tokens/${made.id}/rotate`;
  const long = await broker.send("POST", path, { json: { overlapMs: 31 * 86_400_000 } });
  expect([long.status, long.body.field]).toEqual([400, "overlapMs"]);
  const none = await broker.send("POST", `/v1/tokens/${unique("absent")}/rotate`);
  expect([none.status, codeOf(none.body)]).toEqual([404, "token-not-found"]);
  await discard(made);
});

test("security: a token says when it was last used", async () => {
  const topic = await broker.topic();
  const made = await make("manage", topic.path.slice("/v1/topics/".length));
  const path = `/v1/tokens/${made.id}`;
  type Used = { lastUsedAt: number | null };
  expect(await broker.call<Used>("GET", path)).toMatchObject({ lastUsedAt: null });
  expect((await broker.send("GET", topic.path, { token: made.token })).status).toBe(200);
  const usedAt = await broker.eventually("its use is written down", async () => {
    return (await broker.call<Used>("GET", path)).lastUsedAt ?? undefined;
  });
  expect(usedAt).toBeGreaterThan(1_700_000_000_000);
  await discard(made);
});
