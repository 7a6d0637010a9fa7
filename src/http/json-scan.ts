// Whether JSON is worth parsing: bytes whose value would be far larger in memory than they are, or nested deeper than
// anything that looks at it may go, are refused while they are still bytes.

import { limits } from "../limits";

/** What stands around the deepest value that is a message's: the body, its list, the item. */
const ENVELOPE_LEVELS = 4;
export const BODY_DEPTH = limits.jsonDepth + ENVELOPE_LEVELS;

export type JsonFault = Readonly<{ detail: string; limit: number }>;

const [QUOTE, BACKSLASH] = [0x22, 0x5c];
const [OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT] = [0x5b, 0x5d, 0x7b, 0x7d];

export const TOO_DEEP: JsonFault = {
  detail: `JSON is nested at most ${BODY_DEPTH} deep.`,
  limit: BODY_DEPTH,
};
const TOO_MANY: JsonFault = {
  detail: `JSON has at most ${limits.jsonContainers} objects and lists.`,
  limit: limits.jsonContainers,
};

/** What is wrong with JSON bytes before they are parsed, if anything. Small ones are harmless whatever they say. */
export function jsonFault(bytes: Uint8Array): JsonFault | undefined {
  if (bytes.byteLength <= limits.unscannedJsonBytes) return undefined;
  let depth = 0;
  let containers = 0;
  for (let at = 0; at < bytes.byteLength; at++) {
    const byte = bytes[at];
    if (byte === QUOTE) at = endOfText(bytes, at);
    else if (byte === OPEN_LIST || byte === OPEN_OBJECT) {
      if (++depth > BODY_DEPTH) return TOO_DEEP;
      if (++containers > limits.jsonContainers) return TOO_MANY;
    } else if (byte === CLOSE_LIST || byte === CLOSE_OBJECT) depth -= 1;
  }
  return undefined;
}

/** Where the text that begins at `start` has its closing quote, or where the bytes end. */
function endOfText(bytes: Uint8Array, start: number): number {
  for (let quote = bytes.indexOf(QUOTE, start + 1); quote !== -1; quote = bytes.indexOf(QUOTE, quote + 1)) {
    let escapes = 0;
    while (bytes[quote - 1 - escapes] === BACKSLASH) escapes += 1;
    if (escapes % 2 === 0) return quote;
  }
  return bytes.byteLength;
}
