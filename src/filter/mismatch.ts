// Why a message does not match: told place by place, for people who try out a filter.

import { limits } from "../limits";
import { type Fields, type Leaf, matchesNode, memberOf, type Node } from "./pattern";

/** `field` is the place in the message. */
export type Mismatch = Readonly<{ field: string; detail: string }>;

const SHOWN_LENGTH = 100;

/** Everything of a pattern that `value` does not match, up to a bound; nothing when it matches. */
export function mismatches(node: Node, value: unknown, place: string): readonly Mismatch[] {
  const found: Mismatch[] = [];
  collect(node, value, place, found);
  return found.slice(0, limits.filterMismatches);
}

function collect(node: Node, value: unknown, place: string, found: Mismatch[]): void {
  if (found.length >= limits.filterMismatches || matchesNode(node, value)) return;
  if (node.kind === "leaf") {
    found.push({ field: place, detail: leafDetail(node, value) });
  } else if (Array.isArray(value) && value.length > 0) {
    found.push({ field: place, detail: `none of its ${value.length} elements matches` });
  } else collectFields(node, value, place, found);
}

function collectFields({ fields, choices }: Fields, value: unknown, place: string, found: Mismatch[]): void {
  for (const [name, below] of fields) collect(below, memberOf(value, name), `${place}.${name}`, found);
  for (const choice of choices) {
    if (choice.some((pattern) => matchesNode(pattern, value))) continue;
    found.push({ field: place, detail: `none of the ${choice.length} patterns of $or matches` });
  }
}

function leafDetail({ written, takesNone }: Leaf, value: unknown): string {
  if (value === undefined) return `it is not there; wanted: ${written}`;
  const only = takesNone ? "nothing, or " : "";
  return `it is ${shown(value)}; wanted: ${only}${written}`;
}

/** A value as JSON, cut short. */
function shown(value: unknown): string {
  const text = typeof value === "string" ? JSON.stringify(value.slice(0, SHOWN_LENGTH)) : brief(value);
  return text.length > SHOWN_LENGTH ? `${text.slice(0, SHOWN_LENGTH).toWellFormed()}…` : text;
}

function brief(value: unknown): string {
  if (Array.isArray(value)) return `a list of ${value.length}`;
  return value !== null && typeof value === "object" ? "an object" : String(value);
}
