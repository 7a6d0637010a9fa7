// The form of a filter: what a subscription asks of the messages it is handed. Its parts, of which each that is there must
// match, are the subject, the attributes, and the body as JSON; and that nobody else matched. docs/filters.md says what each
// operator does.

/** A part that is left out matches everything. */
export type Filter = Readonly<{
  subject?: readonly SubjectAlternative[];
  attributes?: Pattern;
  body?: Pattern;
  /** Only what no other subscription matched when it was stored. */
  unmatched?: true;
}>;

/** Whether a subscription with this filter is an alternate: it takes what the others do not match. */
export function isAlternate(filter: Filter | null | undefined): boolean {
  return filter?.unmatched === true;
}

/** Words between dots, of which `*` is any one and `#` any number; or an operator. One of several must match. */
export type SubjectAlternative =
  | string
  | Readonly<{ exists: boolean }>
  | Readonly<{ "anything-but": string | readonly string[] }>;

/**
 * Every name must match: a list says what its value may be, an object goes one level down. The name `$or` has a list
 * of patterns, of which one must match.
 */
export type Pattern = Readonly<{
  [name: string]: Pattern | readonly Alternative[] | readonly Pattern[];
}>;

/** One of several that a value may be: exactly this, or what an operator says. */
export type Alternative = string | number | boolean | null | Operator;

export type Operator = Readonly<
  | { exists: boolean }
  | { prefix: string | IgnoringCase }
  | { suffix: string | IgnoringCase }
  | { "equals-ignore-case": string }
  | { wildcard: string }
  /** One comparison, or the two ends of a range: `[">=", 0, "<", 100]`. */
  | { numeric: readonly (string | number)[] }
  | { cidr: string }
  | { "anything-but": Excluded }
>;

type IgnoringCase = Readonly<{ "equals-ignore-case": string }>;
type Scalar = string | number | boolean | null;
type Texts = string | readonly string[];
type Excluded =
  | Scalar
  | readonly Scalar[]
  | Readonly<{ prefix: Texts } | { suffix: Texts } | { "equals-ignore-case": Texts } | { wildcard: Texts }>;
