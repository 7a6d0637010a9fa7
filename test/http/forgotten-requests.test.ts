// A request whose replies were forgotten: made again it is refused, and whoever replies to it is not kept from its ack.

import { runDurableObjectAlarm } from "cloudflare:test";
import { expect, test } from "vitest";
import { limits } from "../../src/limits";
import { replyName } from "../../src/object-name";
import { parseReplyTo } from "../../src/reply-calls";
import { api } from "../support/api";
import { codeOf, type Problem, unique } from "../support/contract-client";
import { bindings, testRuntime, useRuntime } from "../support/objects";

type Pulled = Readonly<{ messages: readonly Readonly<{ ackId: string; replyTo: string }>[] }>;

const queue = `/v1/queues/${unique("asked")}`;
const ask = () =>
  api.send<Problem>("POST", `${queue}/request`, {
    body: "how much?",
    headers: { "idempotency-key": "q", "content-type": "text/plain", prefer: "wait=0" },
  });

test("a request that is made again when its replies are forgotten is gone, and a reply to it is acked and dropped", async () => {
  await api.call("PUT", queue, { json: {} });
  expect((await ask()).status).toBe(504);
  const { messages } = await api.call<Pulled>("POST", `${queue}/pull`, { json: {} });
  const [request] = messages;
  const to = parseReplyTo(request?.replyTo ?? "");
  if (!request || !to) throw new Error("the request was pulled");
  const replies = bindings.REPLY.getByName(replyName(to)) as unknown as DurableObjectStub;
  const clock = testRuntime();
  await useRuntime(replies, clock);
  clock.advance(limits.replyKeptMs + limits.maxReplyWaitMs);
  expect(await runDurableObjectAlarm(replies)).toBe(true);

  const again = await ask();
  expect([again.status, codeOf(again.body), again.body.field]).toEqual([410, "gone", "id"]);
  const json = { ...request, data: "3 euros" };
  const { replyTo, ackId, data } = json;
  const answer = await api.call("POST", `${queue}/reply`, { json: { replyTo, ackId, data } });
  expect(answer).toEqual({ reply: "forgotten", status: "acked" });
});
