// Whether the consumer on a socket may still be heard: looked at once in a while, in the order in which it speaks, and never
// for a socket of which nobody hears.

import { expect, test } from "vitest";
import type { Admission } from "../../src/admission-calls";
import { ok, type Result, refuse } from "../../src/errors";
import { limits } from "../../src/limits";
import { closings } from "../../src/socket-calls";
import { endOf, openSocket, type Socket, type SocketState } from "../../src/subscription/socket";
import { SocketDoor } from "../../src/subscription/socket-door";

const NOW = 1_800_000_000_000;
const ID = "0198f0a2-0000-7000-8000-0123456789ab";
const admission: Admission = { by: "hash", token: "a".repeat(64) };
const ended = () => Promise.resolve(refuse("unauthenticated", "The token is unknown or has expired."));

function scene(admitted?: Admission) {
  const world = { now: NOW, asked: 0, closed: [] as number[] };
  let state: SocketState = openSocket(ID, { credit: 1, ...(admitted && { admission: admitted }) }, NOW);
  let answer: (asked: Admission) => Promise<Result<Admission>> = (asked) => Promise.resolve(ok(asked));
  const socket: Socket = {
    state: () => state,
    keep: (kept) => {
      state = kept;
    },
    send: () => undefined,
    close: (code) => world.closed.push(code),
    isOpen: () => true,
  };
  const keeper = {
    admitted: (asked: Admission) => {
      world.asked += 1;
      return answer(asked);
    },
  };
  const runtime = { now: () => world.now, random: () => 0, newId: () => ID };
  const door = new SocketDoor({ keeper, runtime: () => runtime });
  const answers = (next: typeof answer) => {
    answer = next;
  };
  return { world, answers, state: () => state, admits: () => door.admits(socket) };
}

test("a token is looked at once a minute at most, and not before it is a minute old", async () => {
  const { world, admits } = scene(admission);
  expect([await admits(), world.asked]).toEqual([true, 0]);
  world.now += limits.socketCheckMs;
  expect([await admits(), await admits(), world.asked]).toEqual([true, true, 1]);
  world.now += limits.socketCheckMs - 1;
  expect([await admits(), world.asked]).toEqual([true, 1]);
  world.now += 1;
  expect([await admits(), world.asked]).toEqual([true, 2]);
});

test("a socket whose token was taken away is closed with 4401, and what it says after that too", async () => {
  const { world, admits, answers } = scene(admission);
  answers(ended);
  expect(await admits()).toBe(true);
  world.now += limits.socketCheckMs;
  expect([await admits(), await admits(), world.asked]).toEqual([false, false, 1]);
  expect(world.closed).toEqual([closings.unauthenticated, closings.unauthenticated]);
});

test("an expiry that is known ends it to the millisecond, and asks nobody", async () => {
  const { world, admits, state } = scene({ ...admission, until: NOW + 5_000 });
  expect(endOf(state())).toBe(NOW + 5_000);
  world.now += 4_999;
  expect(await admits()).toBe(true);
  world.now += 1;
  expect([await admits(), world.asked, world.closed]).toEqual([false, 0, [4401]]);
});

test("an expiry that came with a rotation is learned when it is looked at", async () => {
  const { world, admits, answers } = scene(admission);
  answers((asked) => Promise.resolve(ok({ ...asked, until: NOW + limits.socketCheckMs + 10 })));
  world.now += limits.socketCheckMs;
  expect(await admits()).toBe(true);
  world.now += 10;
  expect([await admits(), world.asked]).toEqual([false, 1]);
});

test("while nobody can tell, it goes on, and is looked at later", async () => {
  const { world, admits, answers } = scene(admission);
  for (const away of [
    () => Promise.reject(new Error("D1 is away")),
    () => Promise.resolve(refuse("unavailable", "The catalog cannot be read.")),
  ]) {
    answers(away);
    world.now += limits.socketCheckMs;
    const before = world.asked;
    expect([await admits(), await admits(), world.asked]).toEqual([true, true, before + 1]);
  }
});

test("what is said while it is looked at waits for the one answer, in its order", async () => {
  const { world, admits, answers } = scene(admission);
  let tell: ((answer: Result<Admission>) => void) | undefined;
  answers(
    () =>
      new Promise((resolve) => {
        tell = resolve;
      }),
  );
  world.now += limits.socketCheckMs;
  const order: number[] = [];
  const said = [1, 2, 3].map((frame) => admits().then(() => order.push(frame)));
  tell?.(ok(admission));
  await Promise.all(said);
  expect([order, world.asked]).toEqual([[1, 2, 3], 1]);
});

test("who came with the root token, or before sockets knew by what, is not looked at", async () => {
  const { world, admits } = scene();
  world.now += 10 * limits.socketCheckMs;
  expect([await admits(), world.asked]).toEqual([true, 0]);
});
