// Where a topic's priorities lie, whose turn it is among them, and what a publisher may say.

import { describe, expect, test } from "vitest";
import type { TopicEntry } from "../../src/catalog/catalog-entry";
import { takeInAll, takeInOne } from "../../src/http/intake";
import { headerPriority, readPriority } from "../../src/http/priorities";
import { bind, type Entry } from "../../src/http/publish";
import { type Draft, readItem, readRaw } from "../../src/http/publish-items";
import { limits } from "../../src/limits";
import {
  addPriorities,
  type Laid,
  layoutOf,
  levelsOf,
  priorityShown,
  withPriorities,
} from "../../src/priority";
import { partitionOf } from "../../src/record-batch";
import { defaultTopicSettings } from "../../src/settings";
import { PriorityTurns } from "../../src/subscription/priority-turns";
import { refusalOf, value } from "../support/result";

const laid = (priorities: readonly number[] | undefined, each: number): Laid => ({
  partitions: each * (priorities?.length ?? 1),
  settings: priorities ? { priorities } : {},
});

/** An active topic of one partition for each priority. */
const topicOf = (priorities?: readonly number[]): TopicEntry => ({
  ...{ name: "t", kind: "topic", generation: "g", version: 1, state: "active", createdAt: 0, updatedAt: 0 },
  partitions: priorities?.length ?? 1,
  settings: { ...defaultTopicSettings, ...(priorities && { priorities }) },
});

describe("the layout", () => {
  test("without priorities is the partitions themselves, and shows none", () => {
    expect(layoutOf({ partitions: 4 })).toEqual({ each: 4, priorities: [0] });
    expect(levelsOf({ partitions: 3 }, 0.5)).toEqual([[1, 2, 0]]);
    expect(priorityShown({ partitions: 3 }, 2)).toEqual({});
  });

  test("has every partition in one priority, the highest first", () => {
    const topic = laid([0, 9, 5], 2);
    expect(levelsOf(topic, 0)).toEqual([
      [2, 3],
      [4, 5],
      [0, 1],
    ]);
    expect(levelsOf(topic, 0.99)[1]).toEqual([5, 4]);
    const shown = [0, 1, 2, 3, 4, 5, 6].map((partition) => priorityShown(topic, partition).priority);
    expect(shown).toEqual([0, 0, 9, 9, 5, 5, undefined]);
  });

  test("has a priority that is being added only once its partitions are there", () => {
    const adding = { partitions: 2, raisingTo: 6, settings: { priorities: [0, 5, 9] } };
    expect(layoutOf(adding)).toEqual({ each: 2, priorities: [0] });
    expect(layoutOf({ ...adding, partitions: 6, raisingTo: null })).toEqual({
      each: 2,
      priorities: [0, 5, 9],
    });
  });

  test("keeps what a topic has where it lies, whatever is added and in whatever order", () => {
    expect(addPriorities({}, { priorities: [9, 0, 5] })).toEqual([0, 5, 9]);
    expect(addPriorities({ priorities: [0, 5] }, { priorities: [9, 5, 1, 0] })).toEqual([0, 5, 1, 9]);
    expect(withPriorities({ ...defaultTopicSettings, priorities: [0] })).toEqual(defaultTopicSettings);
    expect(withPriorities(defaultTopicSettings, { priorities: [0, 5] })).toMatchObject({
      priorities: [0, 5],
    });
  });
});

describe("publishing", () => {
  const topic = { generation: "g", ...laid([0, 5], 4) };
  const partitions = (entries: readonly Entry[]) => {
    const bounds = bind(entries, topic, { choice: 0.5, newId: () => "b" });
    return new Map(bounds.flatMap(({ batch, indexes }) => indexes.map((index) => [index, batch] as const)));
  };
  const message = (id: string, orderingKey?: string) => ({
    ...{ id, publishedAt: 1, contentType: "text/plain", body: new Uint8Array() },
    ...(orderingKey !== undefined && { orderingKey }),
  });

  test("goes to the same place among the partitions of each priority, and one of none to the default's", () => {
    const bound = partitions([
      { index: 0, message: message("a", "k") },
      { index: 1, message: message("b", "k"), priority: 5 },
      { index: 2, message: message("c"), fingerprint: "f", priority: 5 },
      { index: 3, message: message("d"), priority: 0 },
    ]);
    const home = partitionOf("k", 4);
    const places = [0, 1, 2, 3].map((index) => bound.get(index)?.partition);
    expect(places).toEqual([home, 4 + home, 4 + partitionOf("c", 4), 2]);
    expect(bound.get(1)?.partitions).toBe(4);
  });

  test("is refused under a priority that the topic does not use, by the item's field and the list", () => {
    const items = [{ data: 1 }, { data: 2, priority: 5 }, { data: 3, priority: 9 }];
    const stamp = { publishedAt: 1, newId: () => "made" };
    const drafts = items.map((item, index) => readItem(item, index, stamp));
    const [first, second, third] = takeInAll(drafts, topicOf([0, 5]), "messages");
    expect([first?.ok, second?.ok]).toEqual([true, true]);
    expect(third && refusalOf(third)).toMatchObject({
      ...{ code: "priority-not-listed", field: "messages[2].priority", limit: "0, 5" },
    });
    const raw = value(
      readRaw(new Headers({ "pennypost-priority": "5" }), new Uint8Array(), defaultTopicSettings, stamp),
    );
    expect(raw.priority).toBe(5);
    const refused = takeInOne(raw satisfies Draft, topicOf(), new Headers());
    expect(refusalOf(refused)).toMatchObject({ code: "priority-not-listed", field: "priority" });
  });

  test("takes a priority that is a whole number from 0 to 9", () => {
    expect([readPriority(0, "p"), readPriority(9, "p")].map(value)).toEqual([0, 9]);
    expect([headerPriority(null), headerPriority("3")].map(value)).toEqual([undefined, 3]);
    for (const wrong of [10, -1, 1.5, "5", null, Number.NaN]) {
      expect(refusalOf(readPriority(wrong, "messages[0].priority"))).toMatchObject({
        ...{ code: "invalid-request", field: "messages[0].priority" },
      });
    }
    for (const wrong of ["", "10", "-1", "high"]) expect(headerPriority(wrong).ok).toBe(false);
  });
});

describe("the turns", () => {
  const turnsOf = (count: number, random = 0) => {
    const turns = new PriorityTurns(() => random);
    return Array.from({ length: count }, (_, i) => turns.isLowest(`lease-${i}`));
  };

  test("give the lowest every tenth pull, wherever the count begins", () => {
    for (const random of [0, 0.3, 0.99]) {
      const lowest = turnsOf(100, random).flatMap((is, at) => (is ? [at] : []));
      expect(lowest).toHaveLength(100 / limits.pullsPerLowest);
      const gaps = lowest.slice(1).map((at, i) => at - (lowest[i] ?? 0));
      expect(new Set(gaps)).toEqual(new Set([limits.pullsPerLowest]));
    }
  });

  test("count a pull that arrives twice once, and tell it the same", () => {
    const turns = new PriorityTurns(() => 0.8);
    expect([turns.isLowest("a"), turns.isLowest("b"), turns.isLowest("b")]).toEqual([false, true, true]);
    expect([turns.isLowest("a"), turns.isLowest("c")]).toEqual([false, false]);
  });

  test("that are forgotten between pulls give the lowest its share by chance", () => {
    const chances = Array.from({ length: 1_000 }, (_, i) => i / 1_000);
    expect(chances.filter((random) => turnsOf(1, random)[0])).toHaveLength(100);
  });
});
