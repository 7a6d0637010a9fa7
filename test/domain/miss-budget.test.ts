// Questions to D1 for names that nobody has: bounded by address and in all, and only those.

import { expect, test } from "vitest";
import { MissBudget } from "../../src/http/miss-budget";
import { limits } from "../../src/limits";

const NOW = Date.UTC(2026, 10, 30, 12);
const { unknownKeySets: all, unknownKeySetsByAddress: each, unknownKeySetsMs: windowMs } = limits;
const takeMany = (budget: MissBudget, count: number, addressOf: (index: number) => string | null) =>
  Array.from({ length: count }, (_, index) => budget.take(addressOf(index), NOW)).filter((ms) => ms === 0)
    .length;

test("an address has so many a minute, and another has its own", () => {
  const budget = new MissBudget();
  expect(takeMany(budget, each + 5, () => "192.0.2.1")).toBe(each);
  expect(budget.take("192.0.2.1", NOW + 20_000)).toBe(windowMs - 20_000);
  expect(budget.take("192.0.2.2", NOW)).toBe(0);
  expect(budget.take("192.0.2.1", NOW + windowMs)).toBe(0);
});

test("addresses of one IPv6 network are one, however they are written", () => {
  const budget = new MissBudget();
  const addresses = ["2001:db8:0:0:1:2:3:4", "2001:db8::5", "2001:db8::", "2001:DB8:0:0:a::"];
  expect(takeMany(budget, each + 5, (index) => addresses[index % addresses.length] ?? "")).toBe(each);
  expect(budget.take("2001:db8:0:1::5", NOW)).toBe(0);
});

test("all addresses together have so many, those that are not told too", () => {
  const budget = new MissBudget();
  expect(takeMany(budget, all + 50, (index) => (index % 2 ? `192.0.2.${index}` : null))).toBe(all);
});

test("what found something costs nothing, in its own window only", () => {
  const budget = new MissBudget();
  for (let index = 0; index < 3 * all; index++) {
    expect(budget.take("192.0.2.1", NOW)).toBe(0);
    budget.giveBack("192.0.2.1", NOW);
  }
  budget.take("192.0.2.1", NOW);
  const later = NOW + windowMs;
  expect(budget.take("192.0.2.1", later)).toBe(0);
  budget.giveBack("192.0.2.1", NOW);
  const left = Array.from({ length: each }, () => budget.take("192.0.2.1", later)).filter((ms) => ms === 0);
  expect(left).toHaveLength(each - 1);
});
