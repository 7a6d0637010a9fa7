// The object of one request's replies, in workerd: what it waits for, what it keeps, and that it forgets itself.

import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { describe, expect, test } from "vitest";
import { limits } from "../../src/limits";
import { replyName } from "../../src/object-name";
import type { ReplyCalls, Said } from "../../src/reply-calls";
import { bindings, testRuntime, useRuntime, value } from "../support/objects";

const utf8 = new TextEncoder();
const said = (text: string): Said => ({
  ...{ subscription: "s", contentType: "text/plain", body: utf8.encode(text) },
});

async function newRequest() {
  const id = crypto.randomUUID();
  const replies = bindings.REPLY.getByName(replyName({ generation: "g", id })) as ReplyCalls &
    DurableObjectStub;
  const clock = testRuntime();
  await useRuntime(replies, clock);
  const open = (waitMs = 1_000) => replies.open({ id, fingerprint: "f", waitMs });
  return { id, replies, clock, open };
}

const keysOf = (stub: DurableObjectStub) =>
  runInDurableObject(stub, async (_, { storage }) => [...(await storage.list()).keys()]);

describe("the object of a request's replies", () => {
  test("an asker that waits is woken by the reply, and one that comes later has it at once", async () => {
    const { replies, open } = await newRequest();
    const { secret, fresh } = value(await open());
    const asking = replies.hear({ waitMs: 30_000 });
    expect(value(await replies.answer({ secret, ...said("yes") }))).toBe("first");
    expect(fresh).toBe(true);
    expect(value(await asking).reply).toMatchObject({ standing: "first", body: utf8.encode("yes") });
    expect(value(await open())).toMatchObject({ secret, fresh: false, reply: { standing: "first" } });
  });

  test("what was asked and replied outlives the instance", async () => {
    const { replies, open } = await newRequest();
    const { secret } = value(await open());
    for (const text of ["a", "b"]) await replies.answer({ secret, ...said(text) });
    await evictDurableObject(replies);
    const kept = value(await replies.show()).replies.map(({ standing, body }) => [
      standing,
      new TextDecoder().decode(body),
    ]);
    expect(kept).toEqual([
      ["first", "a"],
      ["second", "b"],
    ]);
    expect(value(await open()).secret).toBe(secret);
  });

  test("a call to a request that nobody made writes nothing", async () => {
    const { replies } = await newRequest();
    expect(value(await replies.answer({ secret: "x", ...said("a") }))).toBe("forgotten");
    expect(await replies.hear({ waitMs: 1 })).toMatchObject({ error: { code: "request-not-found" } });
    expect(await replies.show()).toMatchObject({ error: { code: "request-not-found" } });
    expect(await keysOf(replies)).toEqual([]);
  });

  test("a request is one row and its alarm, and a reply one row", async () => {
    const { replies, open } = await newRequest();
    const { secret } = value(await open());
    expect(await keysOf(replies)).toEqual(["request"]);
    await replies.answer({ secret, ...said("a") });
    await replies.answer({ secret, ...said("a") });
    expect(await keysOf(replies)).toEqual(["reply:0000", "request"]);
  });

  test("it forgets itself after a week, and a day after a late reply at the earliest", async () => {
    const { replies, open, clock } = await newRequest();
    const { secret } = value(await open());
    clock.advance(limits.replyKeptMs - 1);
    expect(value(await replies.answer({ secret, ...said("late") }))).toBe("late");
    clock.advance(1);
    expect(await runDurableObjectAlarm(replies)).toBe(true);
    expect(value(await replies.show()).replies).toHaveLength(1);
    clock.advance(limits.lateReplyKeptMs);
    expect(await runDurableObjectAlarm(replies)).toBe(true);
    expect(await replies.show()).toMatchObject({ error: { code: "request-not-found" } });
    expect(await keysOf(replies)).toEqual([]);
  });

  test("more askers of one request than may wait are refused, and can come again", async () => {
    const { replies, open } = await newRequest();
    const { secret } = value(await open());
    const all = Array.from({ length: limits.replyWaiters + 1 }, () => replies.hear({ waitMs: 30_000 }));
    const [refused] = await Promise.all([Promise.any(all.map(refusalOf)), undefined]);
    expect(refused).toBe("too-many-requests");
    await replies.answer({ secret, ...said("yes") });
    const heard = await Promise.all(all);
    expect(heard.filter((each) => each.ok && each.value.reply !== undefined)).toHaveLength(
      limits.replyWaiters,
    );
    expect(value(await replies.hear({ waitMs: 0 })).reply).toBeDefined();
  });
});

/** The code of a refusal; what is no refusal rejects. */
async function refusalOf(heard: ReturnType<ReplyCalls["hear"]>): Promise<string> {
  const answer = await heard;
  if (answer.ok) throw new Error("it was heard");
  return answer.error.code;
}
