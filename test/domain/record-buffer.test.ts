// What a subscription holds of its log in memory: without a gap from its next offset on, and no more than it counts.

import { expect, test } from "vitest";
import type { Message } from "../../src/message";
import { packRecords } from "../../src/record-batch";
import { RecordBuffer } from "../../src/subscription/record-buffer";

const message = (id: string): Message => ({
  ...{ id, publishedAt: 1, contentType: "text/plain", body: new Uint8Array(100) },
});
const run = (firstOffset: number, ...ids: string[]) => ({
  ...{ firstOffset, storedAt: 1, records: packRecords(ids.map(message)) },
});
const sizeOf = (id: string) => packRecords([message(id)]).byteLength;

test("what is in hand and lies ahead too stays when it leaves the hand", () => {
  const buffer = new RecordBuffer(0, 10_000);
  buffer.hold([run(1, "b")]);
  buffer.append([run(0, "a", "b", "c")]);
  buffer.release(1, 0);
  expect([0, 1, 2].map((offset) => buffer.get(offset) !== undefined)).toEqual([true, true, true]);
});

test("what was passed, and what lies past what is read, is released", () => {
  const buffer = new RecordBuffer(0, 10_000);
  buffer.append([run(0, "a", "b")]);
  buffer.hold([run(7, "h")]);
  buffer.release(0, 1);
  buffer.release(7, 1);
  expect([0, 1, 7].map((offset) => buffer.get(offset) !== undefined)).toEqual([false, true, false]);
});

test("a record that is held and then read counts once, so that room comes back whole", () => {
  const buffer = new RecordBuffer(0, 3 * sizeOf("a"));
  for (let offset = 0; offset < 10; offset++) {
    buffer.hold([run(offset, "a")]);
    buffer.append([run(offset, "a")]);
    buffer.forget(offset);
  }
  expect(buffer.isHalfFull).toBe(false);
  buffer.append([run(10, "a", "b")]);
  expect(buffer.end).toBe(12);
});
