// How an attempt failed is told from what was noted of it, and searched by.

import { expect, test } from "vitest";
import { ATTEMPT_RESULTS, type AttemptNote, type AttemptResult, resultOf } from "../../src/attempt";
import { findAttempts } from "../../src/subscription/failed-attempts";

const notes: Readonly<Record<AttemptResult, readonly AttemptNote[]>> = {
  answered: [
    { at: 1, status: 500, error: "x", latencyMs: 3 },
    { at: 2, status: 202, error: "failed by its receiver" },
  ],
  "no-answer": [{ at: 3, error: "no answer within 1000 ms", latencyMs: 1_000 }],
  deadline: [
    { at: 4, error: "the ack deadline passed", together: 1 },
    { at: 5, error: "the ack deadline passed", together: 7 },
  ],
  "given-back": [{ at: 6, error: "nacked" }, { at: 7 }],
};

test.each(ATTEMPT_RESULTS)("%s is told from the note", (result) => {
  expect(notes[result].map(resultOf)).toEqual(notes[result].map(() => result));
});

test("a search for one result finds the notes of it, and with a status and a time those that have all", () => {
  const history = Object.values(notes).flat();
  const letters = [{ offset: 4, state: "dead", attempts: history.length, history } as const];
  const search = (asked: object) =>
    findAttempts([], letters, { after: -1, limit: 10, ...asked }).deliveries.flatMap((each) => each.history);
  for (const result of ATTEMPT_RESULTS) expect(search({ result })).toEqual(notes[result]);
  expect(search({ result: "answered", status: 202 })).toEqual([notes.answered[1]]);
  expect(search({ result: "deadline", since: 5 })).toEqual([notes.deadline[1]]);
  expect(search({ result: "no-answer", status: 500 })).toEqual([]);
});
