// The layout of the house, kept by a test: where a file lies says what it may import, and its name says what
// it may touch. Each failure names the file, the line, and what to do instead.

import { describe, expect, test } from "vitest";
import { limits } from "../src/limits";
import {
  describeSource,
  type Power,
  pathsBelow,
  readText,
  type SourceFile,
  sourceFiles,
} from "./support/source-tree";

/** What each folder of src may import, beside itself and the words at the root. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  http: ["catalog", "filter", "ledger", "schema"],
  ingress: ["catalog", "ledger"],
  reply: [],
  push: ["catalog", "ledger", "schema"],
  topic: ["filter", "sql"],
  subscription: ["filter", "sql"],
  limiter: ["sql"],
  capacity: [],
  ledger: [],
  catalog: [],
  filter: [],
  schema: [],
  sql: [],
};

/** Packages of src, each with the places that may import it. */
const PACKAGES: Readonly<Record<string, readonly string[]>> = {
  "@cfworker/json-schema": ["schema"],
  "cloudflare:workers": [
    "topic",
    "subscription",
    "limiter",
    "capacity",
    "push",
    "reply",
    "catalog",
    "http",
    "src/index.ts",
  ],
  croner: ["src/catalog/cron.ts"],
  "drizzle-orm": ["catalog"],
  "@hono/zod-openapi": ["http"],
  hono: ["http"],
  tinyqueue: ["subscription"],
  uuid: ["src/runtime.ts"],
  zod: ["http"],
};

/** Packages that bring the platform with them: not for pure files. */
const PLATFORM_PACKAGES = ["cloudflare:workers", "drizzle-orm", "@hono/zod-openapi", "hono"];

const PLATFORM_SUFFIX = /-(object|store|routes|consumer)\.ts$/;

type Touches = Readonly<{ may: readonly (Power | "platform")[]; why: string }>;

/** Files that touch the platform and have no suffix to say so: what each may touch, and why it is not in the name. */
const TOUCHES: Readonly<Record<string, Touches>> = {
  "src/runtime.ts": {
    may: ["clock", "chance"],
    why: "it is the clock and the chance that all others are handed",
  },
  "src/sealing.ts": { may: ["async", "crypto"], why: "WebCrypto encrypts, and only asynchronously" },
  "src/sealed-push.ts": {
    may: ["async"],
    why: "it seals and opens what settings hold, which WebCrypto does asynchronously",
  },
  "src/callback-token.ts": { may: ["async"], why: "it seals and opens, which WebCrypto does asynchronously" },
  "src/http/doorkeeper.ts": {
    may: ["async", "platform"],
    why: "the doorkeeper is an entrypoint of its own, as an object is",
  },
  "src/http/app.ts": { may: ["platform"], why: "it is the route table, handed to Hono" },
  "src/http/auth.ts": {
    may: ["async", "crypto"],
    why: "it hashes and compares tokens, and asks D1 for them",
  },
  "src/in-time.ts": { may: ["async", "timer"], why: "it waits for work, and no longer than it may" },
  "src/http/trying.ts": {
    may: ["async", "console", "timer"],
    why: "it waits between the tries of a write, and is the only one to see them fail",
  },
  "src/topic/topic-memory.ts": {
    may: ["console"],
    why: "it does the alarm's work for its object, and is the only one to see that fail",
  },
  "src/topic/notifier.ts": {
    may: ["async", "console"],
    why: "it awaits the subscriptions' objects, and is the only one to see them fail",
  },
  "src/topic/retention-desk.ts": {
    may: ["async", "console"],
    why: "it awaits the subscriptions' objects, and is the only one to see them fail",
  },
  "src/subscription/expiry-desk.ts": {
    may: ["async"],
    why: "it looks for lost followers in the log, and has the dying buried",
  },
  "src/subscription/follower-search.ts": {
    may: ["async"],
    why: "it reads the log, and decides nothing",
  },
  "src/topic/departure-desk.ts": {
    may: ["async"],
    why: "it hands delayed messages to the partitions that their keys went to",
  },
  "src/topic/lineage-desk.ts": {
    may: ["async"],
    why: "it asks the partition that its keys came from, and answers those they went to",
  },
  "src/topic/producer-desk.ts": {
    may: ["async"],
    why: "it asks the partition that a producer was in before a raise",
  },
  "src/topic/publish-desk.ts": { may: ["async"], why: "it awaits what others know of a publish" },
  "src/topic/tail-desk.ts": { may: ["async"], why: "it looks, waits for news, and looks again" },
  "src/subscription/dead-letter-desk.ts": {
    may: ["async"],
    why: "it has the dying buried, which reads the log, before it looks at the dead",
  },
  "src/subscription/pull-desk.ts": { may: ["async"], why: "it waits for something to lease" },
  "src/subscription/subscription-memory.ts": {
    may: ["async", "console"],
    why: "it goes on in the background after a change, and is the only one to see that fail",
  },
  "src/subscription/stats-desk.ts": {
    may: ["async"],
    why: "it has the dying buried, and asks for the end of the log, before it counts",
  },
  "src/subscription/wake-desk.ts": {
    may: ["async", "console"],
    why: "it sends before it answers, does the alarm's work for its object, and is the only one to see that fail",
  },
  "src/subscription/long-poll.ts": { may: ["async"], why: "it looks, waits for news, and looks again" },
  "src/subscription/lease-desk.ts": { may: ["async"], why: "it reads the log until a lease can be cut" },
  "src/subscription/log-reader.ts": {
    may: ["async"],
    why: "it awaits the topic's object, and decides nothing",
  },
  "src/subscription/parent-desk.ts": {
    may: ["async"],
    why: "it asks the partition that its keys came from, and answers those they went to",
  },
  "src/subscription/seek-desk.ts": {
    may: ["async"],
    why: "it asks the log where a place lies before it moves there",
  },
  "src/subscription/push-pump.ts": {
    may: ["async", "console"],
    why: "it awaits the dispatcher, and is the only one to see it fail",
  },
  "src/subscription/rounds.ts": { may: ["async"], why: "it lets one round end before the next begins" },
  "src/subscription/socket-desk.ts": {
    may: ["async"],
    why: "it does what a consumer asks for on what is in memory, which may be read afresh meanwhile",
  },
  "src/subscription/socket-door.ts": { may: ["async"], why: "it awaits the doorkeeper" },
  "src/subscription/socket-pump.ts": { may: ["async"], why: "it awaits leases, and sends them" },
  "src/http/ticket.ts": { may: ["async", "crypto"], why: "WebCrypto signs, and only asynchronously" },
  "src/subscription/timeline-desk.ts": {
    may: ["async"],
    why: "its audit reads the log, to tell followers, which have no rows",
  },
  "src/waiters.ts": { may: ["async", "timer"], why: "it is the waiting of long polls" },
  "src/push/dispatcher.ts": {
    may: ["async", "console", "crypto", "fetch", "platform", "timer"],
    why: "the dispatcher is an entrypoint of its own, as an object is",
  },
  "src/push/dispatch.ts": { may: ["async"], why: "it is the course of one dispatch, handed what it needs" },
  "src/push/forward.ts": { may: ["async"], why: "it is the course of one forward, handed what it needs" },
  "src/push/sending.ts": { may: ["async"], why: "it awaits the requests of a dispatch, and its claims" },
  "src/push/sharing.ts": { may: ["async"], why: "it asks the capacity, and waits for its turn" },
  "src/push/held-slots.ts": { may: ["async"], why: "whoever waits for a slot waits for its promise" },
  "src/push/slot-keeping.ts": {
    may: ["async"],
    why: "it asks the capacity while the requests are under way",
  },
  "src/push/reporting.ts": { may: ["async"], why: "it reports while the requests are under way" },
  "src/push/replying.ts": { may: ["async"], why: "it awaits the object that a reply is written to" },
  "src/push/webhook.ts": { may: ["async"], why: "it is the request to the endpoint; fetch is handed in" },
  "src/push/credentials.ts": {
    may: ["async"],
    why: "it opens secrets, which is asynchronous, and awaits requests; fetch is handed in",
  },
  "src/push/verifying.ts": { may: ["async"], why: "it is the request to be verified by; fetch is handed in" },
  "src/subscription/verify-desk.ts": {
    may: ["async", "console"],
    why: "it awaits the dispatcher, and is the only one to see it fail",
  },
  "src/push/signature.ts": { may: ["async", "crypto"], why: "WebCrypto signs, and only asynchronously" },
  "src/catalog/catalog-schema.ts": { may: ["platform"], why: "a table is declared in drizzle's own words" },
  "src/catalog/entry-change.ts": { may: ["async"], why: "it changes a row of D1 until no other was faster" },
  "src/catalog/topic-lifecycle.ts": { may: ["async"], why: "it takes topics through D1 and their objects" },
  "src/catalog/subscription-lifecycle.ts": {
    may: ["async"],
    why: "it takes subscriptions through D1 and their objects",
  },
  "src/catalog/entry-lifecycle.ts": {
    may: ["async", "console"],
    why: "it calls the object of every partition",
  },
  "src/catalog/topic-raise.ts": { may: ["async"], why: "it takes a raise through D1 and its objects" },
  "src/catalog/schedule-lifecycle.ts": { may: ["async"], why: "it takes schedules through D1" },
  "src/catalog/schedule-firing.ts": {
    may: ["async", "console", "crypto"],
    why: "it is the sweep's step for schedules, and hashes what it publishes",
  },
  "src/catalog/resealing.ts": {
    may: ["async"],
    why: "it is the sweep's step for secrets, through D1 and WebCrypto",
  },
  "src/catalog/sweep.ts": { may: ["async", "console"], why: "it is the cron's step" },
};

/** Instead of reaching for it. */
const INSTEAD: Readonly<Record<Power | "platform", string>> = {
  clock: "take the instant as an argument (`now`), read once from the Runtime by the caller",
  chance: "take the number or the id as an argument, drawn from the Runtime by the caller",
  crypto: "move it to a file with a platform suffix and hand the result in",
  fetch: "move it to a file with a platform suffix, or take the function as an argument",
  console: "return what happened, and let the object, store, routes or consumer log it",
  timer: "let the object arm its alarm, or take the wait as an argument",
  async: "decide synchronously: load before, save after, in the object or store",
  environment: "read variables in env.ts, once",
  platform: "keep the decision pure and call it from a file with a platform suffix",
};

const MAX_LINES = 600;
/** `src/limits.ts` or `test/simulation/` in a document. */
const NAMED_PATH = /`((?:src|test|scripts|docs|migrations)\/[\w./-]*)`/g;
const WAITING = ["setTimeout", "setInterval", "scheduler"];
/** Lets what is pending run, and waits for nothing. */
const A_TURN = /setTimeout\(\w+, 0\)/;

const src = sourceFiles("src");
const tests = sourceFiles("test");
const byPath = new Map(src.map((file) => [file.path, file]));

describe("layout", () => {
  test("every file opens with what it is", () => {
    const silent = [...src, ...tests].filter(({ text }) => !/^\/[/*]\s*\S/.test(text));
    none(silent.map(({ path }) => `${path}: open with one to three sentences that say what it is`));
  });

  test("file names are unique", () => {
    for (const files of [src, tests]) none(repeated(files.map(({ name }) => name)));
  });

  test("only the Worker's entry is called index.ts, and no file only re-exports", () => {
    const others = src.filter(({ path }) => path !== "src/index.ts");
    none([
      ...others
        .filter(({ name }) => name === "index.ts")
        .map(({ path }) => `${path}: name it after its noun`),
      ...others.filter((file) => file.isBarrel).map(({ path }) => `${path}: import from the file itself`),
    ]);
  });

  test("every folder of src is a noun of the table", () => {
    const known = ["", ...Object.keys(MAY_IMPORT)];
    none(
      src
        .filter(({ folder }) => !known.includes(folder))
        .map(({ path }) => `${path}: put it in the folder of its noun (${known.join(" ")})`),
    );
  });

  test(`no file is longer than ${MAX_LINES} lines`, () => {
    const long = [...src, ...tests].filter(({ lineCount }) => lineCount > MAX_LINES);
    none(long.map(({ path, lineCount }) => `${path}: ${lineCount} lines; cut it where its nouns part`));
  });
});

describe("imports", () => {
  test("a folder imports itself, the root's words, and what the table allows", () => {
    none(src.flatMap(strayImports));
  });

  test("a package is imported where the table says", () => {
    none(
      src.flatMap(({ path, folder, imports }) =>
        imports
          .filter(({ isOwn, target }) => !isOwn && !allowedPackage(target, path, folder))
          .map(
            ({ target }) => `${path}: '${target}' belongs in ${PACKAGES[target]?.join(", ") ?? "no file"}`,
          ),
      ),
    );
  });

  test("no import goes round", () => {
    none(cycles(src).map((cycle) => `${cycle.join(" → ")}: move what both need to a file that both import`));
  });

  test("nothing in src imports a test", () => {
    none(
      src.flatMap(({ path, imports }) =>
        imports
          .filter((i) => i.isOwn && !byPath.has(i.target))
          .map((i) => `${path}: ${i.target} is not in src`),
      ),
    );
  });
});

describe("what a file may touch", () => {
  test("a file without a platform suffix is pure", () => {
    none(src.filter(({ name }) => !PLATFORM_SUFFIX.test(name)).flatMap(impurities));
  });

  test("only runtime.ts reads a clock or rolls dice", () => {
    none(
      src
        .filter(({ path }) => path !== "src/runtime.ts")
        .flatMap((file) =>
          file.uses
            .filter(({ power }) => power === "clock" || power === "chance")
            .map((use) => `${file.path}:${use.line}: ${use.text}; ${INSTEAD[use.power]}`),
        ),
    );
  });

  test("every exception is still needed, and says why", () => {
    none(
      Object.entries(TOUCHES).flatMap(([path, { may, why }]) => {
        const file = byPath.get(path);
        if (!file) return [`${path}: is gone; take it out of the table`];
        const needed = new Set(touched(file).map(({ power }) => power));
        const idle = may.filter((power) => !needed.has(power));
        return [
          ...idle.map((power) => `${path}: no longer needs '${power}'; take it out of the table`),
          ...(why.length < 10 ? [`${path}: say why`] : []),
        ];
      }),
    );
  });

  test("tests wait on conditions, never on a clock", () => {
    const patient = tests.filter(({ path }) => !/^test\/(e2e|bench|support)\//.test(path));
    none(
      patient.flatMap(({ path, text, uses }) => [
        ...uses
          .filter((use) => WAITING.includes(use.text) && !A_TURN.test(text.split("\n")[use.line - 1] ?? ""))
          .map(
            (use) => `${path}:${use.line}: ${use.text}; run the alarm, move the test's clock, or long-poll`,
          ),
        ...(/\bvi\.(waitFor|waitUntil)\(/.test(text) ? [`${path}: vi.waitFor; await what will happen`] : []),
        ...(/\.(skip|only|todo)\(/.test(text) ? [`${path}: skip, only or todo; finish it or delete it`] : []),
      ]),
    );
  });
});

describe("strictness", () => {
  test("no `any`, no enum", () => {
    none(
      [...src, ...tests].flatMap(({ path, laxities }) =>
        laxities.map((what) => `${path}: ${what}; use \`unknown\` and narrow it, or a union of strings`),
      ),
    );
  });

  test("no check is silenced", () => {
    const silencers = ["@ts-", "biome-"].flatMap((tool) => [
      `${tool}ignore`,
      `${tool}expect-error`,
      `${tool}nocheck`,
    ]);
    none(
      [...src, ...tests].flatMap(({ path, text }) =>
        silencers
          .filter((silencer) => text.includes(silencer))
          .map((s) => `${path}: ${s}; mend what it complains about`),
      ),
    );
  });

  test("every limit is used", () => {
    const used = new Set(src.flatMap((file) => file.limits));
    const idle = Object.keys(limits).filter((name) => !used.has(name));
    none(idle.map((name) => `limits.${name}: enforce it, or take it out`));
  });

  test("every limit that is used exists", () => {
    const missing = src.flatMap((file) =>
      file.limits
        .filter((name) => !Object.hasOwn(limits, name))
        .map((name) => `${file.path}: limits.${name}`),
    );
    none(missing);
  });
});

describe("documents", () => {
  test("every file that a document names exists", () => {
    const documents = ["README.md", "CHANGELOG.md", ...pathsBelow("docs")].filter((path) =>
      path.endsWith(".md"),
    );
    const known = new Set(["src", "test", "scripts", "docs", "migrations"].flatMap(pathsBelow));
    const exists = (path: string) =>
      known.has(path) || [...known].some((other) => other.startsWith(`${path.replace(/\/$/, "")}/`));
    none(
      documents.flatMap((document) =>
        [...readText(document).matchAll(NAMED_PATH)]
          .map(([, path]) => path ?? "")
          .filter((path) => !exists(path))
          .map((path) => `${document}: ${path} is not there`),
      ),
    );
  });
});

describe("the rules themselves", () => {
  const file = (text: string, path = "src/topic/log.ts") => describeSource(path, text);

  test("a pure file that reads a clock, rolls dice, fetches, logs or waits is found", () => {
    const impure = [
      "Date.now()",
      "new Date()",
      "Date()",
      "Math.random()",
      "crypto.randomUUID()",
      "crypto.subtle",
      "fetch('')",
      "console.log(1)",
      "setTimeout(f, 1)",
      "const f = async () => {}",
      "await g()",
      "Promise.all([])",
      "process.env",
    ];
    expect(impure.filter((text) => impurities(file(text)).length === 0)).toEqual([]);
  });

  test("what only looks like the platform is not", () => {
    const text = `const m = { fetch: 1, now: 2 }; m.fetch; new Date(5); Date.parse("x"); type Fetch = { fetch(): void };
      // console.log, Date.now()
      const s = "fetch(Math.random())"; \`async\`;`;
    expect(impurities(file(text))).toEqual([]);
  });

  test("an import across nouns, of a platform package, or of the entry is found", () => {
    const text = `import type { Lane } from "../subscription/lane"; import { Hono } from "hono"; import "../index";`;
    expect(strayImports(file(text))).toHaveLength(2);
    expect(impurities(file(text))).toHaveLength(1);
    expect(allowedPackage("hono", "src/topic/log.ts", "topic")).toBe(false);
  });

  test("a cycle of imports is found, of types too", () => {
    const one = file(`import type { B } from "./b";`, "src/topic/a.ts");
    const other = file(`import { A } from "./a";`, "src/topic/b.ts");
    expect(cycles([one, other])).toEqual([["src/topic/a.ts", "src/topic/b.ts", "src/topic/a.ts"]]);
  });

  test("a file that only re-exports is a barrel", () => {
    expect(file(`export { a } from "./a";`).isBarrel).toBe(true);
    expect(file(`export { a } from "./a"; export const b = 1;`).isBarrel).toBe(false);
  });

  test("the tree was read", () => {
    expect(src.length).toBeGreaterThan(40);
    expect(pathsBelow("src")).toContain("src/limits.ts");
  });
});

// ── the rules' own words ─────────────────────────────────────────────────────────────────────────────

/** Fails with one line for each fault. */
function none(faults: readonly string[]): void {
  if (faults.length > 0) expect.fail(`${faults.length} to mend:\n  ${faults.join("\n  ")}`);
}

function repeated(names: readonly string[]): string[] {
  const twice = names.filter((name, i) => names.indexOf(name) !== i);
  return twice.map((name) => `${name}: two files have this name; say in the name which noun it is of`);
}

function strayImports({ path, folder, imports }: SourceFile): string[] {
  const own = imports.filter(({ isOwn }) => isOwn);
  return own.flatMap(({ target }) => {
    const fromFolder = target.split("/").slice(1, -1).join("/");
    if (target === "src/index.ts")
      return [`${path}: the entry is imported by nobody; move what you need out of it`];
    if (path === "src/index.ts" || fromFolder === "" || fromFolder === folder) return [];
    if (MAY_IMPORT[folder]?.includes(fromFolder)) return [];
    const allowed = MAY_IMPORT[folder]?.join(", ") || "nothing";
    return [
      `${path}: imports ${target}; '${folder || "the root"}' may import ${allowed}. Call another noun through its ` +
        "binding in env.ts, or move the word that both need to the root of src",
    ];
  });
}

function allowedPackage(name: string, path: string, folder: string): boolean {
  return PACKAGES[name]?.some((place) => place === path || place === folder) ?? false;
}

function impurities(file: SourceFile): string[] {
  const may = TOUCHES[file.path]?.may ?? [];
  const faults = touched(file).filter(({ power }) => !may.includes(power));
  const firsts = faults.filter(({ power }, i) => faults.findIndex((other) => other.power === power) === i);
  return firsts.map(({ power, text, line }) => `${file.path}:${line}: ${text}; ${INSTEAD[power]}`);
}

function touched({ uses, imports }: SourceFile) {
  const platform = imports
    .filter(({ target }) => PLATFORM_PACKAGES.includes(target))
    .map(({ target }) => ({ power: "platform" as const, text: `import of ${target}`, line: 0 }));
  return [...uses, ...platform];
}

/** Each cycle once, from the path that comes first. */
function cycles(files: readonly SourceFile[]): string[][] {
  const targets = new Map(
    files.map(({ path, imports }) => [
      path,
      imports.filter(({ isOwn }) => isOwn).map(({ target }) => target),
    ]),
  );
  const found = new Map<string, string[]>();
  const done = new Set<string>();
  const visit = (path: string, trail: readonly string[]) => {
    const at = trail.indexOf(path);
    if (at >= 0) {
      const cycle = trail.slice(at);
      found.set([...cycle].sort().join(), [...cycle, path]);
    }
    if (at >= 0 || done.has(path)) return;
    for (const target of targets.get(path) ?? []) visit(target, [...trail, path]);
    done.add(path);
  };
  for (const { path } of files) visit(path, []);
  return [...found.values()];
}
