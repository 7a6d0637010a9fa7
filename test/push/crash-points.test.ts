// Clause 14, whatever crashes where: a dispatch is cut off at each of its outgoing calls in turn, before it and after
// it, and others carry on; or it is only paused, and comes back when another has overtaken it.
import { describe, expect, it } from "vitest";
import { CrashScene, type Scenario, type Send } from "./crash-scene";
import type { Stop } from "./isolate";

const lane = [{ orderingKey: "a" }, { orderingKey: "a" }, {}];
const once = () => 200;
const secondTime = (_: number, nth: number) => (nth === 1 ? 500 : 200);

const scenarios: readonly Scenario[] = [
  { name: "every request is answered 200", messages: lane, answers: once },
  { name: "every first request fails", messages: lane, answers: secondTime },
  {
    name: "a batch endpoint refuses the first of a lane once",
    messages: lane,
    answers: (offset, nth) => (offset === 0 && nth === 1 ? 500 : 200),
    push: { batchMaxMessages: 10 },
  },
  { name: "a receiver completes, then answers 202", messages: lane, answers: () => 202, completes: "within" },
  { name: "a receiver answers 202, then completes", messages: lane, answers: () => 202, completes: "after" },
  {
    name: "a receiver answers 202 and dies, and completes the second time",
    messages: lane,
    answers: () => 202,
    completes: "late",
  },
  {
    name: "a batch is answered 202 and completed after",
    messages: lane,
    answers: () => 202,
    push: { batchMaxMessages: 10 },
    completes: "after",
  },
];

/** More calls than any dispatch of these makes. */
const MOST_CALLS = 40;

/** Every place where a dispatch of this scenario can stop, and what then happened. */
async function everyStop(scenario: Scenario, play: (scene: CrashScene, stop: Stop) => Promise<boolean>) {
  let stops = 0;
  for (let call = 1; call <= MOST_CALLS; call++) {
    const before = await play(new CrashScene(scenario), { call, side: "before" });
    const after = await play(new CrashScene(scenario), { call, side: "after" });
    if (!before && !after) return stops;
    stops += Number(before) + Number(after);
  }
  throw new Error("a dispatch makes more calls than this test looks at");
}

async function expectWhole(scene: CrashScene, where: string): Promise<void> {
  const processed = await scene.completed();
  expect({ where, processed: processed.size }).toEqual({ where, processed: scene.scenario.messages.length });
  const { counters, leasedCount, waitingCount } = scene.backlog;
  expect({ where, settled: counters.settled, dead: counters.dead, leasedCount, waitingCount }).toEqual({
    where,
    ...{ settled: scene.scenario.messages.length, dead: 0, leasedCount: 0, waitingCount: 0 },
  });
  for (const send of scene.sends) expect([where, send.id]).toEqual([where, `m${send.offset}`]);
  const bodies = new Set(scene.sends.map(({ offset, body }) => `${offset} ${body}`));
  expect([where, bodies.size]).toEqual([where, scene.scenario.messages.length]);
}

/** The fences of one message's requests, in the order in which they came. */
function fencesRise(sends: readonly Send[], offset: number): boolean {
  const fences = sends.filter((send) => send.offset === offset).map(({ fence }) => fence);
  return fences.every((fence, i) => i === 0 || fence > (fences[i - 1] ?? 0));
}

describe("a dispatch that crashes at any of its calls", () => {
  for (const scenario of scenarios) {
    it(`loses nothing, and sends nothing that is completed: ${scenario.name}`, async () => {
      const stops = await everyStop(scenario, async (scene, stop) => {
        const isolate = await scene.run(stop);
        const where = `${stop.side} call ${stop.call}: ${isolate?.stoppedAt}`;
        scene.world.forgetTimers();
        const completed = await scene.completed();
        const atRisk = new Set([...scene.acknowledged.keys()].filter((offset) => !completed.has(offset)));
        await scene.recover();
        await expectWhole(scene, where);
        for (const send of scene.sends) expect([where, send.completedUnder]).toEqual([where, undefined]);
        for (const [offset] of scenario.messages.entries()) {
          expect([where, fencesRise(scene.sends, offset)]).toEqual([where, true]);
          // Twice only when the crash lay between its 2xx and its completion.
          const acknowledged = scene.acknowledged.get(offset) ?? 0;
          expect([where, acknowledged > 1 && !atRisk.has(offset)]).toEqual([where, false]);
        }
        return isolate?.stoppedAt !== undefined;
      });
      expect(stops).toBeGreaterThanOrEqual(8);
    });
  }
});

describe("a dispatch that is paused at any of its calls until others have done its work", () => {
  for (const scenario of scenarios) {
    it(`settles nothing twice, and its fence gives it away: ${scenario.name}`, async () => {
      await everyStop(scenario, async (scene, stop) => {
        const paused = scene.start(stop);
        if (!paused) throw new Error("there is something to dispatch");
        const { isolate, running } = paused;
        await scene.world.drive(() => running.ended || isolate.stoppedAt !== undefined);
        const where = `${stop.side} call ${stop.call}: ${isolate.stoppedAt}`;
        // Not always to the end: it may come back while another is at work, or between two.
        for (let others = stop.call % 3; others > 0; others--) {
          scene.letLeasesEnd();
          await scene.run();
        }
        isolate.resume();
        await scene.world.drive(() => running.ended);
        await scene.recover();
        await expectWhole(scene, where);
        // A request that was paused on its way out cannot be called back; a receiver that remembers fences refuses it.
        const late = scene.sends.filter(({ completedUnder }) => completedUnder !== undefined);
        const onTheirWay = isolate.onTheirWay.filter((sort) => sort === "fetch");
        expect([where, late.length <= onTheirWay.length]).toEqual([where, true]);
        for (const { completedUnder = 0, fence } of late) {
          expect([where, fence < completedUnder]).toEqual([where, true]);
        }
        return isolate.stoppedAt !== undefined;
      });
    });
  }
});
