// What a token may do: verbs on names. A name is a topic's, a queue's or a ledger's; a pattern is a name, or the
// beginning of names followed by `*`.

import type { Admission } from "../admission-calls";
import type { TokenLimits } from "../limit-policy";

export const verbs = ["publish", "consume", "manage", "admin"] as const;

/** `manage` creates, changes and deletes; `admin` may do everything, tokens included. */
export type Verb = (typeof verbs)[number];
export type Scope = Readonly<{ verb: Verb; topics: string }>;

/** Who makes a request: a token by its id and name. */
export type Principal = Readonly<{
  id: string;
  name?: string;
  scopes: readonly Scope[];
  /** Absent: it is held to none, as the root token is not. */
  limits?: TokenLimits;
  /** By what it was let in, for what lasts longer than a request. Absent: by the root token. */
  admission?: Admission;
}>;

export const rootPrincipal: Principal = {
  id: "root",
  name: "root",
  scopes: [{ verb: "admin", topics: "*" }],
};

/** Whether one of `needed` is granted on `name`; `*` as a name means every name. */
export function mayDo({ scopes }: Principal, needed: readonly Verb[], name: string): boolean {
  return scopes.some(
    ({ verb, topics }) => (verb === "admin" || needed.includes(verb)) && covers(topics, name),
  );
}

/** The patterns of names on which one of `needed` is granted; undefined when that is all of them. */
export function patternsOf({ scopes }: Principal, needed: readonly Verb[]): readonly string[] | undefined {
  const granted = scopes.filter(({ verb }) => verb === "admin" || needed.includes(verb));
  const patterns = granted.map(({ topics }) => topics);
  return patterns.includes("*") ? undefined : patterns;
}

/** The topic of a token that may publish to exactly one topic and do nothing else. */
export function onlyPublishesTo({ scopes }: Principal): string | undefined {
  const [only, ...others] = scopes;
  if (only?.verb !== "publish" || others.length > 0 || only.topics.endsWith("*")) return undefined;
  return only.topics;
}

/** A scope as the catalog keeps it. */
export function scopeText({ verb, topics }: Scope): string {
  return `${verb}:${topics}`;
}

/** A kept scope; a verb that this version does not know grants nothing. */
export function parseScope(text: string): Scope | undefined {
  const [word = "", ...rest] = text.split(":");
  const verb = verbs.find((known) => known === word);
  return verb && { verb, topics: rest.join(":") };
}

function covers(pattern: string, name: string): boolean {
  return pattern.endsWith("*") ? name.startsWith(pattern.slice(0, -1)) : pattern === name;
}
