// The ledger in a real D1: what it promises, and what it costs.
import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { LedgerStore } from "../../src/ledger/ledger-store";
import { limits } from "../../src/limits";
import type { Runtime } from "../../src/runtime";

const d1 = (env as unknown as { LEDGER: D1Database }).LEDGER;
const minute = 60_000;

let now = 1_800_000_000_000;
let lastNamespace = 0;
let namespace = "";
const runtime: Runtime = { now: () => now, random: () => 0.5, newId: () => crypto.randomUUID() };
const ledger = new LedgerStore(d1, runtime);

beforeEach(() => {
  namespace = `test:${++lastNamespace}`;
});

type Asked = { fingerprint?: string; leaseMs?: number };

async function claim(claimant: string, messageId = "m", { fingerprint, leaseMs = minute }: Asked = {}) {
  const message = { messageId, ...(fingerprint !== undefined && { fingerprint }) };
  const [answer] = await ledger.claim({ namespace, messages: [message], claimant, leaseMs });
  return answer;
}

async function claimed(claimant: string, messageId = "m", asked: Asked = {}) {
  const answer = await claim(claimant, messageId, asked);
  if (answer?.state !== "claimed") throw new Error(`expected a claim, got ${answer?.state}`);
  return answer;
}

async function complete(fence: number, result?: string, messageId = "m") {
  const item = { messageId, fence, ...(result !== undefined && { result }) };
  return (await ledger.complete({ namespace, items: [item] }))[0];
}

describe("claiming", () => {
  it("grants a free message until the lease ends", async () => {
    expect(await claim("a")).toMatchObject({ messageId: "m", state: "claimed", leaseUntil: now + minute });
  });

  it("returns the same claim to the same claimant, however often it repeats", async () => {
    const first = await claim("a");
    now += 1_000;
    expect(await claim("a")).toEqual(first);
    expect(await claim("a")).toEqual(first);
  });

  it("keeps another claimant waiting until the lease ends", async () => {
    const first = await claimed("a");
    expect(await claim("b")).toEqual({ messageId: "m", state: "in-progress", leaseUntil: first.leaseUntil });
    now = first.leaseUntil - 1;
    expect(await claim("b")).toMatchObject({ state: "in-progress" });
    now = first.leaseUntil;
    expect(await claim("b")).toMatchObject({ state: "claimed" });
  });

  it("raises the fence with every new claim", async () => {
    const first = await claimed("a");
    now += minute;
    const second = await claimed("b");
    expect(second.fence).toBeGreaterThan(first.fence);
    now += minute;
    expect((await claimed("a")).fence).toBeGreaterThan(second.fence);
  });

  it("raises the fence when the same instant sees two claims", async () => {
    const first = await claimed("a");
    await ledger.fail({ namespace, messageId: "m", fence: first.fence });
    expect((await claimed("b")).fence).toBe(first.fence + 1);
  });

  it("gives a claimant whose lease ended a new fence, so that its older self loses", async () => {
    const first = await claimed("a");
    now += minute;
    const second = await claimed("a");
    expect(second.fence).toBeGreaterThan(first.fence);
    expect(await complete(first.fence)).toBe("claim-lost");
    expect(await complete(second.fence)).toBe("completed");
  });

  it("answers the stored result once completed, for ever", async () => {
    const { fence } = await claimed("a");
    await complete(fence, '{"transfer":7}');
    now += 10 * minute;
    expect(await claim("b")).toEqual({ messageId: "m", state: "completed", result: '{"transfer":7}' });
    expect(await claim("a")).toEqual({ messageId: "m", state: "completed", result: '{"transfer":7}' });
  });

  it("refuses the same id for other content, whatever became of the first", async () => {
    const { fence } = await claimed("a", "m", { fingerprint: "one" });
    expect(await claim("a", "m", { fingerprint: "two" })).toEqual({ messageId: "m", state: "reused" });
    now += minute;
    expect(await claim("b", "m", { fingerprint: "two" })).toEqual({ messageId: "m", state: "reused" });
    await complete(fence);
    expect(await claim("b", "m", { fingerprint: "two" })).toEqual({ messageId: "m", state: "reused" });
    expect(await claim("b", "m", { fingerprint: "one" })).toMatchObject({ state: "completed" });
  });

  it("takes an absent fingerprint for no opinion, and keeps the first that is given", async () => {
    const { fence } = await claimed("a");
    await ledger.fail({ namespace, messageId: "m", fence });
    await claimed("b", "m", { fingerprint: "one" });
    expect(await claim("b")).toMatchObject({ state: "claimed" });
    expect(await claim("b", "m", { fingerprint: "two" })).toMatchObject({ state: "reused" });
  });

  it("keeps namespaces apart", async () => {
    await claimed("a");
    const other = `${namespace}:other`;
    const [answer] = await ledger.claim({
      namespace: other,
      messages: [{ messageId: "m" }],
      claimant: "b",
      leaseMs: minute,
    });
    expect(answer).toMatchObject({ state: "claimed" });
  });

  it("answers many in the order asked, each by its own state, also one asked twice", async () => {
    const held = await claimed("other", "held");
    await complete((await claimed("other", "done")).fence, "r", "done");
    const messages = ["x", "held", "done", "y", "x"].map((messageId) => ({ messageId }));
    const answers = await ledger.claim({ namespace, messages, claimant: "a", leaseMs: minute });
    expect(answers).toMatchObject([
      { messageId: "x", state: "claimed" },
      { messageId: "held", state: "in-progress", leaseUntil: held.leaseUntil },
      { messageId: "done", state: "completed", result: "r" },
      { messageId: "y", state: "claimed" },
      { messageId: "x", state: "claimed" },
    ]);
  });

  it("takes ids that hold quotes and percent signs", async () => {
    const id = `a"b'c\\d%e`;
    const { fence } = await claimed("a", id);
    expect(await complete(fence, undefined, id)).toBe("completed");
  });

  it("throws when more is asked than one call may claim", async () => {
    const messages = Array.from({ length: limits.claimsPerCall + 1 }, (_, i) => ({ messageId: `m${i}` }));
    const fault = await ledger
      .claim({ namespace, messages, claimant: "a", leaseMs: minute })
      .catch((error: unknown) => error);
    expect(fault).toBeInstanceOf(RangeError);
  });

  it("never grants one message to two claimants that ask at once", async () => {
    const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => claim(`claimant-${i}`)));
    expect(answers.filter((answer) => answer?.state === "claimed")).toHaveLength(1);
    expect(answers.filter((answer) => answer?.state === "in-progress")).toHaveLength(19);
  });
});

describe("settling", () => {
  it("completes again under the same fence, and keeps the first result", async () => {
    const { fence } = await claimed("a");
    expect(await complete(fence, "first")).toBe("completed");
    expect(await complete(fence, "second")).toBe("completed");
    expect(await claim("b")).toMatchObject({ result: "first" });
  });

  it("honours a late completion that nobody overtook", async () => {
    const { fence } = await claimed("a");
    now += 10 * minute;
    expect(await complete(fence)).toBe("completed");
  });

  it("honours a completion after the claimant gave up, as long as nobody claimed since", async () => {
    const { fence } = await claimed("a");
    await ledger.fail({ namespace, messageId: "m", fence });
    expect(await complete(fence)).toBe("completed");
  });

  it("refuses every settle of a claimant that was overtaken", async () => {
    const { fence } = await claimed("a");
    now += minute;
    const second = await claimed("b");
    const ref = { namespace, messageId: "m", fence };
    expect(await complete(fence)).toBe("claim-lost");
    expect(await ledger.fail(ref)).toMatchObject({ ok: false, error: { code: "claim-lost" } });
    expect(await ledger.extend({ ...ref, leaseMs: minute })).toMatchObject({
      error: { code: "claim-lost" },
    });
    expect(await ledger.release({ namespace, items: [ref] })).toEqual(["claim-lost"]);
    expect(await claim("b")).toEqual(second);
  });

  it("refuses to fail, extend or release what is completed", async () => {
    const { fence } = await claimed("a");
    await complete(fence, "r");
    const ref = { namespace, messageId: "m", fence };
    expect((await ledger.fail(ref)).ok).toBe(false);
    expect((await ledger.extend({ ...ref, leaseMs: minute })).ok).toBe(false);
    expect(await ledger.release({ namespace, items: [ref] })).toEqual(["claim-lost"]);
    expect(await claim("b")).toMatchObject({ state: "completed", result: "r" });
  });

  it("frees a failed message at once and counts its attempt", async () => {
    const { fence, attempts } = await claimed("a");
    expect(attempts).toBe(1);
    expect(await ledger.fail({ namespace, messageId: "m", fence })).toEqual({ ok: true, value: null });
    expect(await ledger.fail({ namespace, messageId: "m", fence })).toEqual({ ok: true, value: null });
    expect(await claimed("b")).toMatchObject({ attempts: 2 });
  });

  it("frees a released message at once and counts no attempt", async () => {
    const { fence } = await claimed("a");
    const items = [{ messageId: "m", fence }];
    expect(await ledger.release({ namespace, items })).toEqual(["released"]);
    expect(await ledger.release({ namespace, items })).toEqual(["released"]);
    expect(await claimed("b")).toMatchObject({ attempts: 1 });
  });

  it("moves the end of the lease from now on", async () => {
    const { fence } = await claimed("a");
    now += 50_000;
    const extended = await ledger.extend({ namespace, messageId: "m", fence, leaseMs: minute });
    expect(extended).toEqual({ ok: true, value: { leaseUntil: now + minute } });
    now += minute - 1;
    expect(await claim("b")).toMatchObject({ state: "in-progress" });
  });

  it("says of a message it never saw that the claim is lost", async () => {
    expect(await complete(1)).toBe("claim-lost");
    expect(await ledger.complete({ namespace, items: [] })).toEqual([]);
  });
});

describe("handing over", () => {
  const handOver = async (claim: { fence: number; leaseUntil: number }, leaseMs: number) => {
    const { fence, leaseUntil } = claim;
    return (await ledger.handOver({ namespace, leaseMs, items: [{ messageId: "m", fence, leaseUntil }] }))[0];
  };

  it("leaves a claim to its receiver for as long as asked, also when that is shorter", async () => {
    const held = await claimed("a");
    expect(await handOver(held, 5_000)).toBe("claimed");
    now += 5_000;
    expect(await claim("b")).toMatchObject({ state: "claimed" });
  });

  it("keeps what its receiver has extended meanwhile", async () => {
    const held = await claimed("a");
    await ledger.extend({ namespace, messageId: "m", fence: held.fence, leaseMs: 10 * minute });
    expect(await handOver(held, 5_000)).toBe("claimed");
    now += 9 * minute;
    expect(await claim("b")).toMatchObject({ state: "in-progress" });
  });

  it("says how a claim ended before, and that one which was overtaken is lost", async () => {
    const held = await claimed("a");
    await ledger.fail({ namespace, messageId: "m", fence: held.fence });
    expect(await handOver(held, 5_000)).toBe("failed");
    const second = await claimed("b");
    expect(await handOver(held, 5_000)).toBe("claim-lost");
    await complete(second.fence);
    expect(await handOver(second, 5_000)).toBe("completed");
  });
});

describe("reading", () => {
  it("shows the newest claim and disturbs nothing", async () => {
    expect(await ledger.read(namespace, "m")).toBeUndefined();
    const held = await claimed("a", "m", { fingerprint: "one" });
    const row = { state: "claimed", claimant: "a", fence: held.fence, fingerprint: "one", attempts: 1 };
    expect(await ledger.read(namespace, "m")).toMatchObject(row);
    await complete(held.fence, '{"n":1}');
    expect(await ledger.read(namespace, "m")).toMatchObject({ state: "completed", result: '{"n":1}' });
  });
});

describe("remembering", () => {
  const day = 24 * 60 * minute;
  const claimFor = async (retentionMs: number | undefined, messageId: string, leaseMs = minute) =>
    (await ledger.claim({ namespace, messages: [{ messageId }], claimant: "a", leaseMs, retentionMs }))[0];

  it("lasts as long as the claim asks for, and its answer says until when", async () => {
    await ledger.sweep(1_000_000);
    expect(await claimFor(365 * day, "long")).toMatchObject({ retainUntil: now + 365 * day });
    expect(await claimFor(day, "short")).toMatchObject({ retainUntil: now + day });
    expect(await claimFor(undefined, "usual")).toMatchObject({ retainUntil: now + limits.ledgerRetentionMs });
    now += limits.ledgerRetentionMs;
    await ledger.sweep(1_000_000);
    const left = await Promise.all(["long", "short", "usual"].map((id) => ledger.read(namespace, id)));
    expect(left.map((row) => row?.messageId)).toEqual(["long", undefined, undefined]);
  });

  it("is never shortened by a later claim", async () => {
    const first = await claimFor(365 * day, "m");
    now += minute;
    expect(await claimFor(day, "m")).toMatchObject({
      retainUntil: first?.state === "claimed" ? first.retainUntil : 0,
    });
  });
});

describe("sweeping", () => {
  it("forgets in bounded steps what is past its retention, and nothing else", async () => {
    now += 10 * limits.ledgerRetentionMs;
    await ledger.sweep(1_000_000);
    const old = await Promise.all(["a", "b", "c"].map((id) => claimed("x", id)));
    await complete(old[0]?.fence ?? 0, undefined, "a");
    now += limits.ledgerRetentionMs - 1;
    expect(await ledger.sweep(10)).toBe(0);
    await claimed("x", "young");
    now += 1;
    expect(await ledger.sweep(2)).toBe(2);
    expect(await ledger.sweep(2)).toBe(1);
    expect(await ledger.sweep(2)).toBe(0);
    expect(await claim("y", "young")).toMatchObject({ state: "in-progress" });
  });

  it("leaves a claim that is still held, however old its row", async () => {
    const { fence } = await claimed("a");
    now += limits.ledgerRetentionMs;
    await ledger.extend({ namespace, messageId: "m", fence, leaseMs: minute });
    await ledger.sweep(1_000_000);
    expect(await complete(fence)).toBe("completed");
    expect(await ledger.sweep(1_000_000)).toBe(1);
  });

  it("lets nobody settle a claim that was swept and claimed again", async () => {
    const { fence } = await claimed("a");
    now += 2 * limits.ledgerRetentionMs;
    await ledger.sweep(1_000_000);
    const second = await claimed("b");
    expect(second.fence).toBeGreaterThan(fence);
    expect(await complete(fence)).toBe("claim-lost");
    expect(await complete(second.fence)).toBe("completed");
  });
});

describe("cost", () => {
  type Rows = { written: number; read: number };

  /** The rows that D1 reports read and written while `work` runs. */
  async function rowsOf(work: () => Promise<unknown>): Promise<Rows> {
    const rows = { written: 0, read: 0 };
    const count = ({ meta }: D1Result) => {
      rows.written += meta.rows_written;
      rows.read += meta.rows_read;
    };
    const statement = Object.getPrototypeOf(d1.prepare("SELECT 1"));
    const { batch } = d1;
    const { run } = statement;
    const onBatch = vi.spyOn(d1, "batch").mockImplementation(async (statements) => {
      const results = await batch.call(d1, statements);
      results.forEach(count);
      return results as never;
    });
    const onRun = vi.spyOn(statement, "run").mockImplementation(async function (this: unknown) {
      const result = await run.call(this);
      count(result);
      return result;
    });
    await work();
    onBatch.mockRestore();
    onRun.mockRestore();
    return rows;
  }

  async function rowsWritten(work: () => Promise<unknown>): Promise<number> {
    return (await rowsOf(work)).written;
  }

  it("is four rows for a message that is processed once: two to claim, one to complete, one to sweep", async () => {
    now += 2 * limits.ledgerRetentionMs;
    await ledger.sweep(1_000_000);
    const messages = Array.from({ length: 100 }, (_, i) => ({ messageId: `m${i}` }));
    const call = { namespace, messages, claimant: "a", leaseMs: minute };
    let answers: Awaited<ReturnType<LedgerStore["claim"]>> = [];
    const toClaim = await rowsWritten(async () => {
      answers = await ledger.claim(call);
    });
    const toRepeat = await rowsWritten(() => ledger.claim(call));
    const items = answers.map((answer) => ({
      messageId: answer.messageId,
      fence: answer.state === "claimed" ? answer.fence : 0,
    }));
    const toComplete = await rowsWritten(() => ledger.complete({ namespace, items }));
    const toCompleteAgain = await rowsWritten(() => ledger.complete({ namespace, items }));
    now += 2 * limits.ledgerRetentionMs;
    const toSweep = await rowsWritten(() => ledger.sweep(1_000));
    expect({ toClaim, toRepeat, toComplete, toCompleteAgain, toSweep }).toEqual({
      toClaim: 200,
      toRepeat: 0,
      toComplete: 100,
      toCompleteAgain: 0,
      toSweep: 100,
    });
  });
  it("does not grow with what else the namespace remembers", async () => {
    for (let page = 0; page < 10; page++) {
      const messages = Array.from({ length: 100 }, (_, i) => ({ messageId: `other-${page}-${i}` }));
      await ledger.claim({ namespace, messages, claimant: "a", leaseMs: minute });
    }
    let fence = 0;
    const toClaim = await rowsOf(async () => {
      fence = (await claimed("a")).fence;
    });
    const toComplete = await rowsOf(() => complete(fence));
    expect(toClaim.read).toBeLessThan(20);
    expect(toComplete.read).toBeLessThan(20);
  });
});
