// The examples of the pages, as far as their text tells whether they can work: what a reader pastes must not be refused for
// what was left out of it.

import { dirname, join, normalize } from "node:path";
import { describe, expect, test } from "vitest";
import { openApi } from "../src/http/app";
import { pathsBelow, readText } from "./support/source-tree";

type Example = Readonly<{ path: string; command: string }>;

const COMMAND = /(?:^|[\s(|])(?:curl|pp) [^\n]*/;
const isCurl = ({ command }: Example) => COMMAND.test(command);
/** `-d '{…`: JSON, which curl calls a form unless it is told. */
const SENDS_JSON = /(?:^|\s)(?:-d|--data)\s*['"]\{/;
const SAYS_JSON = /--json\b|content-type:\s*application\/(?:[\w.+-]+\+)?json/i;

/** `GET …/messages/{id}`, in code. */
const ROUTE = /`(GET|POST|PUT|PATCH|DELETE) (…?\/[^`\s]+)`/g;

/** `[words](target)`, within the project. */
const LINK = /\]\((?!https?:)([^)\s]+)\)/g;

const { paths } = JSON.parse(openApi()) as {
  paths: Readonly<Record<string, Readonly<Record<string, object>>>>;
};
// A decision says what was so on its day.
const pages = ["README.md", ...pathsBelow("docs").filter((path) => /^docs\/[^/]+\.md$/.test(path))];
const examples = pages.flatMap((path) => commandsOf(path)).filter(isCurl);

describe("an example of the pages", () => {
  test("there are some", () => {
    expect(examples.length).toBeGreaterThan(20);
  });

  test("says that its body is JSON, or the broker answers 415", () => {
    const silent = examples.filter(({ command }) => SENDS_JSON.test(command) && !SAYS_JSON.test(command));
    expect(silent.map(({ path, command }) => `${path}: ${command}`)).toEqual([]);
  });
});

describe("a route that the pages name", () => {
  const named = pages.flatMap((path) =>
    [...readText(path).matchAll(ROUTE)].map(([, method = "", route = ""]) => ({ path, method, route })),
  );

  test("is one that there is, with its method", () => {
    expect(named.length).toBeGreaterThan(30);
    const unknown = named.filter(({ method, route }) => !isRoute(method, route));
    expect(unknown.map(({ path, method, route }) => `${path}: ${method} ${route}`)).toEqual([]);
  });
});

describe("a link of the pages", () => {
  const linked = pages.flatMap((path) =>
    [...readText(path).matchAll(LINK)].map(([, target = ""]) => ({ path, target })),
  );

  test("leads to a file that there is, and to a heading of it", () => {
    expect(linked.length).toBeGreaterThan(50);
    const known = new Set([...pathsBelow("docs"), "README.md", "CHANGELOG.md"]);
    const broken = linked.filter(({ path, target }) => {
      const [to = "", anchor] = target.split("#");
      const file = to === "" ? path : normalize(join(dirname(path), to));
      return !known.has(file) || (anchor !== undefined && !headingsOf(file).has(anchor));
    });
    expect(broken.map(({ path, target }) => `${path}: ${target}`)).toEqual([]);
  });
});

/** The anchors of a page's headings, as they are made of their words. */
function headingsOf(path: string): ReadonlySet<string> {
  const headings = [...readText(path).matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) => heading);
  const words = headings.map((heading) => heading.toLowerCase().replace(/[^\p{L}\p{N}\- ]/gu, ""));
  return new Set(words.map((text) => text.replaceAll(" ", "-")));
}

/** A word of a page stands for itself or for a parameter; after `…` comes the end of a path. */
function isRoute(method: string, route: string): boolean {
  const words = route.replace("…", "").split("/").slice(1);
  return Object.entries(paths).some(([path, methods]) => {
    const parts = path.split("/").slice(1);
    if (!(method.toLowerCase() in methods)) return false;
    if (!route.startsWith("…") && parts.length !== words.length) return false;
    return words.every((word, at) => {
      const part = parts.at(at - words.length) ?? "";
      return part === word || part.startsWith("{");
    });
  });
}

/** The commands of a page's shell blocks, each on one line, with what a function of the block adds to them. */
function commandsOf(path: string): readonly Example[] {
  const blocks = [...readText(path).matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, block = ""]) => block);
  return blocks.flatMap((block) => {
    const lines = joined(block);
    const added = lines.find((line) => line.startsWith("pp()")) ?? "";
    return lines
      .filter((line) => !line.startsWith("#") && line !== added)
      .map((line) => ({ path, command: /\bpp /.test(line) ? `${line} ${added}` : line }));
  });
}

/** A line that ends in a backslash, or within quotes, goes on. */
function joined(block: string): readonly string[] {
  const lines: string[] = [];
  let open = false;
  for (const line of block.split("\n")) {
    if (open) lines.push(`${lines.pop()} ${line}`);
    else lines.push(line);
    const whole = lines.at(-1) ?? "";
    open = whole.endsWith("\\") || (whole.replace(/\s#.*$/, "").match(/(?<!\\)'/g)?.length ?? 0) % 2 === 1;
  }
  return lines;
}
