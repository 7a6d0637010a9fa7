// Which regular expressions a schema may hold. The platform's engine backtracks, so a hostile text could keep it busy for
// years; here an expression is read, and the ways in which it could take one text apart are counted before it is ever
// used. A repetition that is followed by a character which it cannot itself match has one way only. An expression with
// more than `limits.schemaPatternWays` is refused, and so is what cannot be counted: lookarounds, backreferences, and
// repeating without an end what can itself be matched in several ways.

import { limits } from "../limits";

/** One character: the text of its class, and the character itself when it is but one. */
type Atom = Readonly<{ kind: "atom"; source: string; literal?: string }>;
type Group = Readonly<{ kind: "group"; branches: readonly Sequence[] }>;
type Edge = Readonly<{ kind: "edge"; source: string }>;
type Part = Readonly<{ item: Atom | Group | Edge; min: number; max: number }>;
type Sequence = readonly Part[];
/** What comes after a repetition: one of a few certain characters, nothing that could fail, or anything. */
type Next = Readonly<{ literals: readonly string[] }> | "end" | "anything";

/** What cannot be used, and why; its message is for a person. */
class Unfit extends Error {}

const QUANTIFIER = /^(?:[*+?]|\{(\d+)(?:(,)(\d*))?\})\??/;
const ESCAPED_CLASS =
  /^\\(?:[pP]\{[^}]*\}|u\{[0-9a-fA-F]+\}|u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|c[A-Za-z]|[^1-9kbB])/u;
const CLASS_OF_MANY = /^\\[dDsSwWpP]/;

/** What is wrong with `pattern`, if anything, when it is held against texts of at most `length` characters. */
export function patternFault(pattern: string, length: number): string | undefined {
  if (pattern.length > limits.schemaPatternLength) {
    return `a pattern has at most ${limits.schemaPatternLength} characters`;
  }
  try {
    new RegExp(pattern, "u");
  } catch {
    return "this is not a regular expression";
  }
  try {
    const branches = new Reader(pattern).branches();
    const start = branches.every(isAnchored) ? 1 : length;
    // What stands last in an expression has matched when it matches once: nothing behind it can fail.
    const ways = start * waysOfBranches(branches, "end", length);
    return ways <= limits.schemaPatternWays
      ? undefined
      : `a text of ${length} characters could be matched in too many ways: begin with ^, repeat less, or set maxLength`;
  } catch (fault) {
    if (fault instanceof Unfit) return fault.message;
    throw fault;
  }
}

// ── reading ──────────────────────────────────────────────────────────────────────────────────────────

/** Reads an expression that the engine has accepted: it need not find what is malformed. */
class Reader {
  private at = 0;

  constructor(private readonly text: string) {}

  branches(): Sequence[] {
    const branches: Sequence[] = [];
    do {
      branches.push(this.sequence());
    } while (this.took("|"));
    return branches;
  }

  private sequence(): Sequence {
    const parts: Part[] = [];
    while (this.at < this.text.length && !"|)".includes(this.text[this.at] ?? "")) {
      parts.push({ item: this.item(), ...this.quantifier() });
    }
    return parts;
  }

  private item(): Part["item"] {
    if (this.took("(")) return this.group();
    if (this.took("^")) return { kind: "edge", source: "^" };
    if (this.took("$")) return { kind: "edge", source: "$" };
    if (this.took("\\b") || this.took("\\B")) return { kind: "edge", source: "b" };
    if (this.took(".")) return { kind: "atom", source: "." };
    if (this.rest.startsWith("[")) return { kind: "atom", source: this.bracket() };
    if (this.rest.startsWith("\\")) return this.escape();
    const character = String.fromCodePoint(this.text.codePointAt(this.at) ?? 0);
    this.at += character.length;
    return { kind: "atom", source: character, literal: character };
  }

  private group(): Group {
    if (/^\?(?:[=!]|<[=!])/.test(this.rest)) throw new Unfit("a pattern may not look ahead or behind");
    const opening = /^\?(?::|<[^>]*>)/.exec(this.rest)?.[0];
    if (opening === undefined && this.rest.startsWith("?")) throw new Unfit("a group may not set flags");
    this.at += opening?.length ?? 0;
    const branches = this.branches();
    this.at++;
    return { kind: "group", branches };
  }

  private bracket(): string {
    const start = this.at;
    for (this.at++; this.text[this.at] !== "]"; this.at++) if (this.text[this.at] === "\\") this.at++;
    this.at++;
    return this.text.slice(start, this.at);
  }

  private escape(): Atom {
    const source = ESCAPED_CLASS.exec(this.rest)?.[0];
    if (source === undefined) throw new Unfit("a pattern may not refer back to a group");
    this.at += source.length;
    const isOne = source.length === 2 && /^\\[^\w]$/.test(source) && !CLASS_OF_MANY.test(source);
    return { kind: "atom", source, ...(isOne && { literal: source.slice(1) }) };
  }

  private quantifier(): { min: number; max: number } {
    const match = QUANTIFIER.exec(this.rest);
    if (!match) return { min: 1, max: 1 };
    this.at += match[0].length;
    if (match[1] === undefined) {
      return { min: match[0].startsWith("+") ? 1 : 0, max: match[0].startsWith("?") ? 1 : Infinity };
    }
    const min = Number(match[1]);
    if (match[2] === undefined) return { min, max: min };
    return { min, max: match[3] ? Number(match[3]) : Infinity };
  }

  private took(text: string): boolean {
    if (!this.rest.startsWith(text)) return false;
    this.at += text.length;
    return true;
  }

  private get rest(): string {
    return this.text.slice(this.at);
  }
}

function isAnchored([first]: Sequence): boolean {
  return first?.item.kind === "edge" && first.item.source === "^";
}

// ── counting ─────────────────────────────────────────────────────────────────────────────────────────

function waysOfBranches(branches: readonly Sequence[], next: Next, length: number): number {
  return branches.reduce((sum, branch) => sum + waysOf(branch, next, length), 0);
}

function waysOf(sequence: Sequence, after: Next, length: number): number {
  return sequence.reduce(
    (ways, part, i) => ways * waysOfPart(part, firstOf(sequence.slice(i + 1), after), length),
    1,
  );
}

function waysOfPart({ item, min, max }: Part, next: Next, length: number): number {
  const counts = Math.min(max, length) - Math.min(min, length) + 1;
  if (item.kind === "edge") return 1;
  if (item.kind === "atom") return counts === 1 || excludes(item, next) ? 1 : counts;
  if (max === 1) return waysOfBranches(item.branches, next, length) + (min === 0 ? 1 : 0);
  // What a round begins with is what may follow the round before; the last round is followed by `next`.
  const once = waysOfBranches(item.branches, roundOf(item, next), length);
  if (once === 1) return counts;
  if (max === Infinity) {
    throw new Unfit("a group that can match in several ways may not be repeated without an end");
  }
  return once ** max * counts;
}

/** What follows a round of a repeated group: what begins the next one, or what stands behind the last. */
function roundOf({ branches }: Group, next: Next): Next {
  return branches.map((branch) => firstOf(branch, next)).reduce(either, next);
}

/** Whether a repetition of `atom` can only end in one place when `next` follows. */
function excludes(atom: Atom, next: Next): boolean {
  if (next === "end") return true;
  if (next === "anything") return false;
  const own = new RegExp(`^(?:${atom.source})$`, "u");
  return !next.literals.some((literal) => own.test(literal));
}

/** What a sequence can begin with, when `after` stands behind it. */
function firstOf([first, ...rest]: Sequence, after: Next): Next {
  if (first === undefined) return after;
  const { item, min } = first;
  if (item.kind === "edge") return item.source === "$" ? "end" : "anything";
  const next = firstOf(rest, after);
  // A group may match nothing at all: then what follows it is next.
  if (item.kind === "group") return roundOf(item, next);
  return min === 0 ? either(literalOf(item), next) : literalOf(item);
}

function literalOf({ literal }: Atom): Next {
  return literal === undefined ? "anything" : { literals: [literal] };
}

/** At the end nothing can fail, so it rules nothing out. */
function either(one: Next, other: Next): Next {
  if (one === "anything" || other === "anything") return "anything";
  if (one === "end") return other;
  return other === "end" ? one : { literals: [...one.literals, ...other.literals] };
}
