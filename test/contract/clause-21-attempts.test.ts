// Clause 21: which attempts failed, how they were answered, and when the next is due.

import { expect, test } from "vitest";
import { idOf, PATIENT, pushScene } from "../support/contract-scenes";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();
const pushed = pushScene(broker);

type Failed = Readonly<{
  partition: number;
  offset: number;
  state: string;
  attempts: number;
  nextAttemptAt?: number;
  history: readonly Readonly<{ at: number; status?: number; error?: string; latencyMs?: number }>[];
}>;
type Page = Readonly<{ deliveries: readonly Failed[]; next: string | null }>;

test("clause 21: failed attempts are searched by status, message and time, with what was answered and when the next is due", async () => {
  const { topic, receiver, subscription } = await pushed({ ...PATIENT, onExhausted: "skip" });
  const statuses: Readonly<Record<string, number>> = { a: 422, b: 500, c: 422, d: 200 };
  receiver.answer((hook) => ({ status: statuses[idOf(hook) ?? ""] ?? 200, body: "x".repeat(2_000) }));
  await topic.publish(...["a", "b", "c", "d"].map((id) => ({ id, data: id })));
  const search = (query: string) => broker.call<Page>("GET", `${subscription.path}/attempts${query}`);
  const all = await broker.eventually("three have failed", async () => {
    const page = await search("");
    return page.deliveries.length === 3 ? page.deliveries : undefined;
  });
  for (const { state, attempts, nextAttemptAt = 0, history } of all) {
    const [{ at = 0, error = "", latencyMs = -1 } = {}] = history;
    expect([state, attempts, history.length, error.length]).toEqual(["waiting", 1, 1, 500]);
    expect(nextAttemptAt).toBeGreaterThan(at);
    expect(latencyMs).toBeGreaterThanOrEqual(0);
  }
  const refused = await search("?status=422&limit=1");
  expect(refused.deliveries).toMatchObject([{ history: [{ status: 422 }] }]);
  const rest = await search(`?status=422&limit=1&after=${refused.next}`);
  expect(rest.deliveries).toMatchObject([{ history: [{ status: 422 }] }]);
  expect(rest.deliveries[0]?.offset).toBeGreaterThan(refused.deliveries[0]?.offset ?? 0);
  const answered = (await search("?result=answered&status=422")).deliveries;
  expect(answered.map(({ history }) => history.length)).toEqual([1, 1]);
  expect((await search("?result=no-answer")).deliveries).toEqual([]);
  expect((await search("?messageId=b")).deliveries).toMatchObject([{ history: [{ status: 500 }] }]);
  expect((await search("?messageId=d")).deliveries).toEqual([]);
  expect((await search(`?since=${(all[0]?.nextAttemptAt ?? 0) + 1}`)).deliveries).toEqual([]);
});

test("clause 21: dead letters of this epoch are among those searched", async () => {
  const queue = await broker.queue();
  await queue.publish({ id: "m", data: 1 });
  await queue.nack(await queue.pullAll(1), { deadLetter: true, reason: "no such order" });
  const search = (query: string) => broker.call<Page>("GET", `${queue.path}/attempts${query}`);
  const { deliveries } = await search("");
  expect(deliveries).toMatchObject([{ state: "dead", attempts: 1, history: [{ error: "no such order" }] }]);
  expect((await search("?result=given-back")).deliveries).toEqual(deliveries);
  for (const result of ["answered", "no-answer", "deadline"]) {
    expect((await search(`?result=${result}`)).deliveries).toEqual([]);
  }
  const { status, body } = await broker.send("GET", `${queue.path}/attempts?result=lost`);
  expect([status, body.field]).toEqual([400, "result"]);
});
