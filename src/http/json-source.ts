// The source of the parts of a JSON text: what stood between its commas, byte for byte. Parsing rounds numbers and
// drops spaces; what is to be passed on as it came is cut out instead. The text must be valid JSON.

const QUOTE = '"';
const BACKSLASH = "\\";
const OPENING = "{[";
const CLOSING = "}]";
const SPACE = /[ \t\r\n]/;

/** The source of each member of the object `text`, by name. Of a name that is there twice, the last counts. */
export function memberSources(text: string): ReadonlyMap<string, string> {
  const members = new Map<string, string>();
  let at = skipSpace(text, skipSpace(text, 0) + 1);
  while (text[at] !== "}") {
    const nameEnd = endOfString(text, at);
    const name: string = JSON.parse(text.slice(at, nameEnd));
    const start = skipSpace(text, skipSpace(text, nameEnd) + 1);
    const end = endOfValue(text, start);
    members.set(name, text.slice(start, end));
    at = afterComma(text, end);
  }
  return members;
}

/** The source of each element of the array `text`. */
export function elementSources(text: string): readonly string[] {
  const elements: string[] = [];
  let at = skipSpace(text, skipSpace(text, 0) + 1);
  while (text[at] !== "]") {
    const end = endOfValue(text, at);
    elements.push(text.slice(at, end));
    at = afterComma(text, end);
  }
  return elements;
}

function afterComma(text: string, end: number): number {
  const at = skipSpace(text, end);
  return text[at] === "," ? skipSpace(text, at + 1) : at;
}

function skipSpace(text: string, from: number): number {
  let at = from;
  while (SPACE.test(text[at] ?? "")) at++;
  return at;
}

function endOfString(text: string, start: number): number {
  let at = start + 1;
  while (text[at] !== QUOTE && at < text.length) at += text[at] === BACKSLASH ? 2 : 1;
  return at + 1;
}

/** No recursion: however deep it is nested, only its strings and brackets are looked at. */
function endOfValue(text: string, start: number): number {
  let depth = 0;
  for (let at = start; at < text.length; ) {
    const character = text[at] ?? "";
    if (
      depth === 0 &&
      at > start &&
      (character === "," || CLOSING.includes(character) || SPACE.test(character))
    )
      return at;
    if (character === QUOTE) {
      at = endOfString(text, at);
      if (depth === 0) return at;
      continue;
    }
    if (OPENING.includes(character)) depth++;
    if (CLOSING.includes(character) && --depth === 0) return at + 1;
    at++;
  }
  return text.length;
}
