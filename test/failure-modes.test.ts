// The page of failure modes is held to the tree: each mode once, and each test that it names is there. Beside that, the
// modes that only configuration and the absence of a call keep away.

import { describe, expect, test } from "vitest";
import { pathsBelow, readText } from "./support/source-tree";

const PAGE = "docs/failure-modes.md";
const MODES = 70;
/** `test/domain/x.test.ts`: "a claim", "another" */
const NAMED_TESTS = /`(test\/[\w./-]+)`:? ((?:"[^"]+"(?:, |,? and )?)+)/g;
const STANDINGS = ["Held", "In part", "Not yet", "Accepted", "Does not apply"];

const rows = [...readText(PAGE).matchAll(/^\| D(\d+) \| (.*) \|$/gm)].map(([, number, rest]) => ({
  number: Number(number),
  cells: (rest ?? "").split(" | "),
}));
const namedIn = (cells: readonly string[]) =>
  [...(cells.at(-1) ?? "").matchAll(NAMED_TESTS)].flatMap(([, path, names]) =>
    [...(names ?? "").matchAll(/"([^"]+)"/g)].map(([, name]) => ({ path: path ?? "", name: name ?? "" })),
  );

describe("the page of failure modes", () => {
  test("has each of them once, in order, with what goes wrong, the rule and how it stands", () => {
    expect(rows.map(({ number }) => number)).toEqual(Array.from({ length: MODES }, (_, i) => i + 1));
    const odd = rows.filter(({ cells }) => cells.length !== 3 || cells.some((cell) => cell.trim() === ""));
    expect(odd.map(({ number }) => `D${number}`)).toEqual([]);
  });

  test("says of each whether it is held, and names the tests of what is", () => {
    const vague = rows.filter(({ cells }) => {
      const standing = STANDINGS.find((word) => cells.at(-1)?.startsWith(`${word}.`));
      return (
        standing === undefined ||
        ((standing === "Held" || standing === "In part") && namedIn(cells).length === 0)
      );
    });
    expect(vague.map(({ number }) => `D${number}`)).toEqual([]);
  });

  test("names no test that is not there", () => {
    const known = new Set(pathsBelow("test"));
    const missing = rows.flatMap(({ number, cells }) =>
      namedIn(cells)
        .filter(({ path, name }) => !known.has(path) || !readText(path).includes(name))
        .map(({ path, name }) => `D${number}: ${path}: "${name}"`),
    );
    expect(missing).toEqual([]);
  });
});

describe("what nothing may undo", () => {
  test("no write goes unconfirmed: an answer never leaves before what it says is on disk", () => {
    const sources = pathsBelow("src").filter((path) => path.endsWith(".ts"));
    expect(sources.length).toBeGreaterThan(100);
    expect(sources.filter((path) => readText(path).includes("allowUnconfirmed"))).toEqual([]);
  });

  test("webhooks leave by the public internet only, and no object is evicted under a dispatch", () => {
    const flags = /^compatibility_flags = \[(.*)\]$/m.exec(readText("wrangler.toml"))?.[1] ?? "";
    expect(flags).toContain('"global_fetch_strictly_public"');
    expect(flags).toContain('"durable_object_io_tasks_prevent_eviction"');
  });

  test("whatever the Cloudflare Queue gives up on has a consumer, which outlasts the 14 days that it is kept", () => {
    const [, ...consumers] = readText("wrangler.toml").split("[[queues.consumers]]");
    const setting = (of: string | undefined, name: string) =>
      new RegExp(`^${name} = "?([\\w-]+)"?$`, "m").exec(of ?? "")?.[1];
    const [ingress, dead] = ["pennypost-ingress", "pennypost-ingress-dead"].map((queue) =>
      consumers.find((consumer) => setting(consumer, "queue") === queue),
    );
    expect(setting(ingress, "dead_letter_queue")).toBe("pennypost-ingress-dead");
    const keptFor = Number(setting(dead, "max_retries")) * Number(setting(dead, "retry_delay"));
    expect(keptFor).toBeGreaterThanOrEqual(14 * 24 * 3_600);
  });
});
