// Rounds of work: one at a time, and what came meanwhile is not passed over.

import { expect, test } from "vitest";
import { Rounds } from "../../src/subscription/rounds";

/** Work that waits at every step until it is let go on. */
function gated(todo: number[]) {
  const done: number[] = [];
  const gates: (() => void)[] = [];
  let [atOnce, most] = [0, 0];
  const next = async () => {
    most = Math.max(most, ++atOnce);
    const taken = todo.shift();
    await new Promise<void>((resolve) => gates.push(resolve));
    atOnce -= 1;
    if (taken !== undefined) done.push(taken);
    return taken !== undefined;
  };
  const letAllGo = async (whole: Promise<unknown>) => {
    let ended = false;
    const end = whole.finally(() => {
      ended = true;
    });
    while (!ended) {
      gates.shift()?.();
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
    await end;
  };
  return { next, done, letAllGo, most: () => most };
}

test("a round goes on while there is more, and never two at once", async () => {
  const work = gated([1, 2, 3]);
  const rounds = new Rounds({ next: work.next, isLive: () => true });
  await work.letAllGo(Promise.all([rounds.go(), rounds.go()]));
  expect([work.done, work.most()]).toEqual([[1, 2, 3], 1]);
});

test("what comes while the last look is under way is found by one more", async () => {
  const todo: number[] = [];
  const work = gated(todo);
  const rounds = new Rounds({ next: work.next, isLive: () => true });
  const first = rounds.go();
  // It has looked, and found nothing; it does not know yet.
  todo.push(1);
  await work.letAllGo(Promise.all([first, rounds.go()]));
  expect(work.done).toEqual([1]);
});

test("no round begins once what it works on is no longer in memory", async () => {
  const work = gated([1]);
  await new Rounds({ next: work.next, isLive: () => false }).go();
  expect(work.most()).toBe(0);
});

test("a round that failed ends with its fault, and the next one begins", async () => {
  let fails = true;
  let looked = 0;
  const next = async () => {
    looked += 1;
    if (fails) throw new Error("no");
    return false;
  };
  const rounds = new Rounds({ next, isLive: () => true });
  await expect(rounds.go()).rejects.toThrow("no");
  fails = false;
  await rounds.go();
  expect(looked).toBe(2);
});
