// The judge of chaos has teeth: a history in which all is well is passed, and each way to break it is found.

import { expect, test } from "vitest";
import { type Audience, findViolations } from "../chaos/chaos-checker";
import type { Acked, ChaosEvent, Counted, Dead, Delivered, Effect, Stored } from "../chaos/chaos-event";

const audience: Audience = { subscription: "billing" };
const once: Audience = { ...audience, effectivelyOnce: true };

/** Three messages: two of one key, one of none. */
const places = {
  a1: { id: "a1", key: "a", partition: 0, offset: 0 },
  a2: { id: "a2", key: "a", partition: 0, offset: 1 },
  b1: { id: "b1", key: null, partition: 1, offset: 0 },
} as const;
type Id = keyof typeof places;

const SECOND = 1_000_000;
const stored = (id: Id, at: number, more: Partial<Stored> = {}): Stored => ({
  ...{ type: "stored", at, producer: "p", n: at, duplicate: false, ...places[id] },
  ...more,
});
const delivered = (id: Id, at: number, more: Partial<Delivered> = {}): Delivered => ({
  ...{ type: "delivered", at, askedAt: at - 1, attempt: 1, intact: true, subscription: "billing" },
  ...{ ...places[id], ...more },
});
const effect = (id: Id, at: number, more: Partial<Effect> = {}): Effect => ({
  ...{ type: "effect", at, subscription: "billing", ...places[id], ...more },
});
const acked = (id: Id, at: number): Acked => ({
  ...{ type: "acked", at, subscription: "billing", ...places[id] },
});
const dead = (id: Id, at: number): Dead => ({ type: "dead", at, subscription: "billing", id });
const kill = (at: number): ChaosEvent => ({ type: "killed", at, whom: "broker" });
const counted = (partition: number, settled: number, more: Partial<Counted> = {}): Counted => ({
  ...{ type: "counted", at: 99 * SECOND, subscription: "billing", partition },
  ...{ startOffset: 0, nextOffset: settled, head: settled, unread: 0, settled },
  ...{ filtered: 0, expired: 0, dead: 0, purged: 0, moved: 0, leased: 0, waiting: 0, readmitted: 0 },
  ...more,
});

const publishes = [stored("a1", 1), stored("a2", 2), stored("b1", 3)];
const works = (["a1", "a2", "b1"] as const).flatMap((id, i) => {
  const at = (i + 1) * 10 * SECOND;
  return [delivered(id, at), effect(id, at + 1), acked(id, at + 2)];
});
const counts = [counted(0, 2), counted(1, 1)];
const good = [...publishes, ...works, ...counts];

const without = (type: ChaosEvent["type"], id: Id) =>
  good.filter((event) => !(event.type === type && "id" in event && event.id === id));
const rulesOf = (history: readonly ChaosEvent[], whose = audience) => [
  ...new Set(findViolations(history, [whose]).map(({ rule }) => rule)),
];

test("a history in which all went well is passed", () => {
  expect(findViolations(good, [once])).toEqual([]);
});

test("a publish that was answered twice with one place is no fault, and neither is a delivery that repeats", () => {
  const again = stored("a1", 4, { duplicate: true });
  expect(findViolations([...publishes, again, delivered("a1", 5), ...works, ...counts], [once])).toEqual([]);
});

test("a message that was stored at two places is found", () => {
  expect(rulesOf([...good, stored("a1", 4, { offset: 7 })])).toContain("moved");
});

test("two messages at one place are found", () => {
  const [squatter] = [{ ...stored("b1", 4), id: "b2", partition: 0, offset: 0 }];
  expect(rulesOf([...good, squatter])).toContain("moved");
});

test("a later publish of a key with the lower offset is found, and one in another partition", () => {
  const later = { ...stored("a2", 100), id: "a3" };
  expect(rulesOf([...good, { ...later, partition: 0, offset: 0.5 }])).toContain("not rising");
  expect(rulesOf([...good, { ...later, partition: 1, offset: 5 }])).toContain("not rising");
  expect(rulesOf([...good, { ...later, producer: "other", offset: 0.5 }])).not.toContain("not rising");
});

test("a confirmed message that nobody processed is found", () => {
  expect(rulesOf(without("effect", "a2"))).toEqual(["lost"]);
});

test("a subscription that was forgotten altogether loses every message", () => {
  const violations = findViolations(good, [{ subscription: "nobody" }]);
  expect(violations.filter(({ rule }) => rule === "lost")).toHaveLength(3);
});

test("a dead letter is not lost, if it is counted as dead", () => {
  const history = without("effect", "b1").filter((event) => event.type !== "counted");
  const settled = counted(0, 2);
  const buried = counted(1, 0, { nextOffset: 1, head: 1, dead: 1 });
  expect(rulesOf([...history, dead("b1", 50), settled, buried])).toEqual([]);
  expect(rulesOf([...history, settled, buried])).toEqual(["lost", "not conserved"]);
});

test("a delivery of what was never published is found, and one from another place", () => {
  expect(rulesOf([...good, { ...delivered("a1", 5), id: "ghost" }])).toEqual(["never published"]);
  expect(rulesOf([...good, delivered("a1", 5, { offset: 9 })])).toEqual(["never published"]);
});

test("a message that arrived as something else is found", () => {
  expect(rulesOf([...good, delivered("a1", 5, { intact: false })])).toEqual(["damaged"]);
});

test("a key whose first effects are out of order is found", () => {
  const swapped = [...publishes, effect("a2", 5), effect("a1", 6), effect("b1", 7), ...counts];
  expect(rulesOf(swapped)).toEqual(["out of order"]);
});

test("an effect that was repeated is found, and is not out of order for it", () => {
  expect(rulesOf([...good, effect("a1", 98 * SECOND)])).toEqual(["two effects"]);
});

test("a message that was handed out after its ack was answered is found", () => {
  expect(rulesOf([...good, delivered("a1", 98 * SECOND)])).toEqual(["acked and handed out"]);
});

test("a pull that was under way when the ack was answered proves nothing", () => {
  expect(rulesOf([...good, delivered("a1", 98 * SECOND, { askedAt: 10 * SECOND })])).toEqual([]);
});

test("under effectively-once what was sent again is found, unless somebody was killed in between", () => {
  const pushed = good.filter(({ type }) => type !== "acked");
  const again = delivered("a1", 50 * SECOND);
  expect(rulesOf([...pushed, again], once)).toEqual(["sent again without a kill"]);
  expect(rulesOf([...pushed, again], audience)).toEqual([]);
  expect(rulesOf([...pushed, kill(40 * SECOND), again], once)).toEqual([]);
  expect(rulesOf([...pushed, kill(1), kill(51 * SECOND), again], once)).toEqual([
    "sent again without a kill",
  ]);
});

test.each([
  ["a term that does not add up", { settled: 1 }],
  ["messages that were never read", { head: 3, unread: 1 }],
  ["a delivery that is still leased", { settled: 1, leased: 1 }],
  ["a delivery that still waits", { settled: 1, waiting: 1 }],
  ["an unread count that is not the head's distance", { unread: 1 }],
])("%s is found in the counters", (_, change) => {
  const rest = good.filter((event) => event.type !== "counted");
  expect(rulesOf([...rest, counted(0, 2, change), counted(1, 1)])).toEqual(["not conserved"]);
});

test("counters that add up, and not to what was published, are found", () => {
  const rest = good.filter((event) => event.type !== "counted");
  expect(rulesOf([...rest, counted(0, 1), counted(1, 1)])).toEqual(["not conserved"]);
});
