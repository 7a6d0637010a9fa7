// The source of the project as the tidy rules see it: every file with its imports, and what it uses of the
// world outside, read from its syntax tree.

import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { parseAst } from "vitest/node";

/** What a pure file does without. Each is handed in by the caller, as a value. */
export type Power = "clock" | "chance" | "crypto" | "fetch" | "console" | "timer" | "async" | "environment";
export type Use = Readonly<{ power: Power; text: string; line: number }>;
export type Import = Readonly<{
  /** A path of the project when it is one, else the package's name. */
  target: string;
  isOwn: boolean;
  reexports: boolean;
}>;

export type SourceFile = Readonly<{
  path: string;
  /** `index.ts` of `src/index.ts`. */
  name: string;
  /** `topic` of `src/topic/log.ts`; empty at the root of `src`. */
  folder: string;
  text: string;
  lineCount: number;
  imports: readonly Import[];
  uses: readonly Use[];
  /** `any`, `enum`: what strict TypeScript does without. */
  laxities: readonly string[];
  /** Whether every statement imports or re-exports. */
  isBarrel: boolean;
  /** Names read from the object `limits`. */
  limits: readonly string[];
}>;

type Node = Readonly<{ type: string; start: number } & Record<string, unknown>>;

const projectDir = join(import.meta.dirname, "..", "..");

/** Globals by the power they give. Members are named where the rest of the object is harmless. */
const POWERS: Readonly<Record<string, Power>> = {
  "Date.now": "clock",
  "performance.now": "clock",
  "Math.random": "chance",
  "crypto.randomUUID": "chance",
  crypto: "crypto",
  fetch: "fetch",
  WebSocket: "fetch",
  caches: "fetch",
  console: "console",
  setTimeout: "timer",
  setInterval: "timer",
  scheduler: "timer",
  "AbortSignal.timeout": "timer",
  Promise: "async",
  queueMicrotask: "async",
  process: "environment",
};

/** Every TypeScript file below `folder`, sorted by path. */
export function sourceFiles(folder: string): SourceFile[] {
  return pathsBelow(folder)
    .filter((path) => path.endsWith(".ts"))
    .map(readSource);
}

/** The paths of all files below `folder`, relative to the project. */
export function pathsBelow(folder: string): string[] {
  return readdirSync(join(projectDir, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(projectDir.length + 1))
    .sort();
}

/** The text of a file of the project. */
export function readText(path: string): string {
  return readFileSync(join(projectDir, path), "utf8");
}

function readSource(path: string): SourceFile {
  return describeSource(path, readText(path));
}

/** What the rules need to know of a file with this text. */
export function describeSource(path: string, text: string): SourceFile {
  const program = parseAst(text, { lang: "ts" }) as unknown as Node;
  const nodes = [...walk(program)];
  const parts = path.split("/");
  return {
    path,
    name: parts.at(-1) ?? path,
    folder: parts.slice(1, -1).join("/"),
    text,
    lineCount: text.split("\n").length - 1,
    imports: nodes.flatMap((node) => importsOf(node, path)),
    uses: nodes.flatMap((node) => usesOf(node, text)),
    laxities: nodes.flatMap(laxitiesOf),
    isBarrel: isBarrel(program),
    limits: nodes.flatMap(limitsOf),
  };
}

function* walk(node: Node): Generator<Node> {
  yield node;
  for (const [key, value] of Object.entries(node)) {
    if (isBareName(node, key)) continue;
    for (const child of Array.isArray(value) ? value : [value]) if (isNode(child)) yield* walk(child);
  }
}

/** A member's or a property's name, and the name of a type, stand for no global. */
function isBareName(node: Node, key: string): boolean {
  if (key === "property" || key === "key") return node.computed === false;
  return node.type === "TSQualifiedName" || (node.type === "TSTypeReference" && key === "typeName");
}

function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null && typeof (value as Node).type === "string";
}

function importsOf(node: Node, path: string): Import[] {
  const reexports = node.type === "ExportAllDeclaration" || node.type === "ExportNamedDeclaration";
  const isImport = ["ImportDeclaration", "ImportExpression", "TSImportType"].includes(node.type);
  const source = (node.source ?? node.argument) as { value?: unknown } | null | undefined;
  if (!(reexports || isImport) || typeof source?.value !== "string") return [];
  const isOwn = source.value.startsWith(".");
  const target = isOwn
    ? normalize(join(dirname(path), source.value)).replace(/(\.ts)?$/, ".ts")
    : packageOf(source.value);
  return [{ target, isOwn, reexports }];
}

/** `@hono/zod-openapi`, `drizzle-orm` of `drizzle-orm/d1`, and `cloudflare:workers` as it is. */
function packageOf(specifier: string): string {
  const parts = specifier.split("/");
  return parts.slice(0, specifier.startsWith("@") ? 2 : 1).join("/");
}

function usesOf(node: Node, text: string): Use[] {
  const found = powerOf(node);
  if (!found) return [];
  return [{ ...found, line: text.slice(0, node.start).split("\n").length }];
}

function powerOf(node: Node): Omit<Use, "line"> | undefined {
  if (node.async === true || node.type === "AwaitExpression") return { power: "async", text: "async" };
  if (node.type === "NewExpression" || node.type === "CallExpression") {
    const isNow = nameOf(node.callee) === "Date" && (node.arguments as unknown[]).length === 0;
    if (isNow) return { power: "clock", text: "new Date()" };
  }
  const text = node.type === "MemberExpression" ? memberName(node) : nameOf(node);
  const power = text !== undefined && Object.hasOwn(POWERS, text) ? POWERS[text] : undefined;
  return power === undefined || text === undefined ? undefined : { power, text };
}

function memberName(node: Node): string | undefined {
  const object = nameOf(node.object);
  const property = nameOf(node.property);
  return object !== undefined && property !== undefined && node.computed === false
    ? `${object}.${property}`
    : undefined;
}

function nameOf(node: unknown): string | undefined {
  return isNode(node) && node.type === "Identifier" ? (node.name as string) : undefined;
}

function laxitiesOf(node: Node): string[] {
  if (node.type === "TSAnyKeyword") return ["any"];
  return node.type === "TSEnumDeclaration" ? ["enum"] : [];
}

function isBarrel(program: Node): boolean {
  const statements = program.body as readonly Node[];
  const reexport = (node: Node) => node.type.startsWith("Export") && node.source != null;
  if (statements.some((node) => node.type === "ExportAllDeclaration")) return true;
  return statements.some(reexport) && statements.every((n) => reexport(n) || n.type === "ImportDeclaration");
}

function limitsOf(node: Node): string[] {
  if (node.type === "MemberExpression" && nameOf(node.object) === "limits") {
    return [nameOf(node.property) ?? ""];
  }
  if (node.type !== "VariableDeclarator" || nameOf(node.init) !== "limits" || !isNode(node.id)) return [];
  const properties = (node.id.properties ?? []) as readonly Node[];
  return properties.map((property) => nameOf(property.key) ?? "");
}
