// Several partitions that send all they can, over one real capacity: what is set holds for all of them together, whatever the
// endpoint's moods, how long calls take, and whenever the capacity begins anew or is lost.
import { describe, expect, it } from "vitest";
import { noRounds, type PaceRounds, takeShare } from "../../src/capacity/pace-rounds";
import { freeSlots, noSlots, type Slots, takeSlots } from "../../src/capacity/slots";
import type { ShareAnswer } from "../../src/capacity-calls";
import type { DispatchCall, Shared } from "../../src/dispatch-calls";
import { ok } from "../../src/errors";
import { limits } from "../../src/limits";
import type { ShareAsk } from "../../src/push/dispatch-run";
import { World } from "./dispatch-world";

const PARTITIONS = 4;
/** Another one is another course of the same claims. */
const SEED = 1;

/** Chance that is the same for a seed. */
function chanceOf(seed: number) {
  let state = seed * 2_654_435_761 + 1;
  return (most: number) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * (most + 1));
  };
}

/** What a capacity does, in memory that a restart loses. */
class Capacity {
  private rate: PaceRounds = noRounds;
  private slots: Slots = noSlots;

  restart(): void {
    this.rate = noRounds;
    this.slots = noSlots;
  }

  answer({ paces, slots, ended }: ShareAsk, { partition }: DispatchCall, now: number): ShareAnswer {
    if (ended !== undefined) this.slots = freeSlots(this.slots, ended);
    const priority = partition % 2;
    const rate = paces.rate && takeShare(this.rate, { by: partition, priority, ...paces.rate }, now);
    if (rate) this.rate = rate.rounds;
    const taken = slots && takeSlots(this.slots, { priority, ...slots }, now);
    if (taken) this.slots = taken.slots;
    return { paces: rate ? { rate: rate.share } : {}, ...(taken && { slots: taken.share }) };
  }
}

type Scene = Readonly<{ shared: Partial<Shared>; latencyMs: number; forMs: number }>;

/** Each partition sends one dispatch after another, until the time is over. `upTo`: until when the capacity answers. */
async function sendAll(
  { shared, latencyMs, forMs }: Scene,
  restarts: number,
  upTo = Number.POSITIVE_INFINITY,
) {
  const chance = chanceOf(SEED);
  const world: World = new World(async () => {
    await world.sleep(1 + chance(latencyMs));
    return new Response(null, { status: 204 });
  });
  const [start, end] = [world.now, world.now + forMs];
  const capacity = new Capacity();
  const restartsAt = Array.from({ length: restarts }, () => start + chance(forMs)).sort((a, b) => a - b);
  world.answerAsk = async (asked, call) => {
    await world.sleep(1 + chance(20));
    while ((restartsAt[0] ?? Number.POSITIVE_INFINITY) <= world.now) {
      capacity.restart();
      restartsAt.shift();
    }
    if (world.now > start + upTo) throw new Error("it is lost");
    const answer = capacity.answer(asked, call, world.now);
    await world.sleep(1 + chance(20));
    return ok(answer);
  };
  const pace = shared.paces?.rate;
  const partition = async (number: number) => {
    let nextSendAt = 0;
    for (let offset = 0; world.now < end; offset += 12) {
      const sending = {
        ...{ connections: 6, stopAfter: 10 },
        shared: { partitions: PARTITIONS, paces: {}, isBehind: true, ...shared },
        ...(pace !== undefined && { pace: { perSecond: pace, nextSendAt } }),
      };
      const leaseId = `p${number}-${offset}`;
      const call = world.callOf({ messages: Array.from({ length: 12 }, () => ({})), sending, leaseId });
      const running = world.start({ ...call, partition: number });
      await running.over;
      nextSendAt = world.reports.findLast((report) => report.leaseId === leaseId)?.signs?.nextSendAt ?? 0;
    }
  };
  let over = 0;
  for (let number = 0; number < PARTITIONS; number++) void partition(number).then(() => over++);
  await world.drive(() => over === PARTITIONS);
  const sentAt = world.sent.map(({ at }) => at - start).filter((at) => at <= forMs);
  return { world, sentAt };
}

/** The most that began in so long a time. */
function mostWithin(sentAt: readonly number[], ms: number): number {
  return Math.max(...sentAt.map((from, i) => sentAt.slice(i).filter((at) => at < from + ms).length));
}

describe("a shared capacity", () => {
  it("never has more under way than there may be, though it begins anew", async () => {
    const shared = { slots: { max: 3, own: 1 } };
    const { world, sentAt } = await sendAll({ shared, latencyMs: 600, forMs: 10_000 }, 2);
    expect(world.mostUnderWay).toBe(3);
    // Of three slots and 300 ms a request, all but what restarts and changes of hands take.
    expect(sentAt.length).toBeGreaterThan(30);
  });

  it("keeps to its pace, and uses it", async () => {
    const shared = { paces: { rate: 20 } };
    const { sentAt } = await sendAll({ shared, latencyMs: 300, forMs: 10_000 }, 0);
    for (const ms of [1_000, 5_000, 10_000]) {
      expect(mostWithin(sentAt, ms)).toBeLessThanOrEqual((20 * ms) / 1000 + 2 * PARTITIONS);
    }
    expect(sentAt.length).toBeGreaterThan(0.75 * 8 * 20);
  });

  it("adds one request a partition to its pace when it begins anew", async () => {
    const shared = { paces: { rate: 20 } };
    const { sentAt } = await sendAll({ shared, latencyMs: 300, forMs: 10_000 }, 3);
    const extra = 2 * PARTITIONS + 3 * PARTITIONS;
    for (const ms of [1_000, 5_000, 10_000]) {
      expect(mostWithin(sentAt, ms)).toBeLessThanOrEqual((20 * ms) / 1000 + extra);
    }
  });

  it("that is lost stops nobody for long, and its pace holds", async () => {
    const shared = { paces: { rate: 20 } };
    const { sentAt } = await sendAll({ shared, latencyMs: 300, forMs: 14_000 }, 0, 4_000);
    const after = sentAt.filter((at) => at > 4_000 + limits.shareRoundMs);
    const longestMs = limits.shareLostMs + limits.shareWaitMs + limits.shareRetryMs;
    expect(after[0]).toBeLessThanOrEqual(4_000 + limits.shareRoundMs + longestMs);
    expect(after.length).toBeGreaterThan(10);
    expect(mostWithin(sentAt, 5_000)).toBeLessThanOrEqual(100 + 2 * PARTITIONS);
  });

  it("that is lost leaves each its own slot", async () => {
    const shared = { slots: { max: 6, own: 1 } };
    const { world, sentAt } = await sendAll({ shared, latencyMs: 600, forMs: 14_000 }, 0, 4_000);
    expect(world.mostUnderWay).toBeLessThanOrEqual(6);
    expect(sentAt.filter((at) => at > 11_500).length).toBeGreaterThan(8);
  });
});
