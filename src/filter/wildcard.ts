// Wildcards within a text: `*` stands for any characters, also none. Linear in the length of the text, whatever the
// pattern: the literal parts are looked for one after another from left to right, each by Knuth, Morris and Pratt.

/** A part between two stars, and for each place in it where a failed comparison goes on. */
type Needle = Readonly<{ text: string; back: readonly number[] }>;

/**
 * The literal parts of a pattern, between its stars; `\*` is a star itself and `\\` a backslash. Undefined when a
 * backslash stands before anything else.
 */
export function wildcardParts(pattern: string): readonly string[] | undefined {
  const parts: string[] = [""];
  for (let at = 0; at < pattern.length; at++) {
    let character = pattern.charAt(at);
    if (character === "*") {
      parts.push("");
      continue;
    }
    if (character === "\\") {
      character = pattern.charAt(++at);
      if (character !== "*" && character !== "\\") return undefined;
    }
    parts[parts.length - 1] += character;
  }
  return parts;
}

/** Tells whether a text is these parts with anything between them. */
export function wildcardTest(parts: readonly string[]): (text: string) => boolean {
  const [head = "", ...rest] = parts;
  const tail = rest.pop();
  if (tail === undefined) return (text) => text === head;
  const needles = rest.filter((part) => part !== "").map(needleOf);
  return (text) => {
    const end = text.length - tail.length;
    if (end < head.length || !text.startsWith(head) || !text.endsWith(tail)) return false;
    let at = head.length;
    for (const needle of needles) {
      const found = find(needle, text, at, end);
      if (found < 0) return false;
      at = found + needle.text.length;
    }
    return true;
  };
}

function needleOf(text: string): Needle {
  const back = [0];
  for (let at = 1, matched = 0; at < text.length; at++) {
    while (matched > 0 && text[at] !== text[matched]) matched = back[matched - 1] ?? 0;
    if (text[at] === text[matched]) matched += 1;
    back.push(matched);
  }
  return { text, back };
}

/** Where the needle first lies in `text` from `from` to `end`; -1 where it does not. */
function find({ text: needle, back }: Needle, text: string, from: number, end: number): number {
  let matched = 0;
  for (let at = from; at < end; at++) {
    const code = text.charCodeAt(at);
    while (matched > 0 && code !== needle.charCodeAt(matched)) matched = back[matched - 1] ?? 0;
    if (code === needle.charCodeAt(matched)) matched += 1;
    if (matched === needle.length) return at + 1 - matched;
  }
  return -1;
}
