// JSON is refused as bytes when its value would be too deep or too large; whatever it says, no text in it is taken for
// structure.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BODY_DEPTH, jsonFault } from "../../src/http/json-scan";
import { limits } from "../../src/limits";

const bytesOf = (text: string) => new TextEncoder().encode(text);
/** Large enough to be looked at, and whitespace is free. */
const large = (text: string) => bytesOf(text + " ".repeat(limits.unscannedJsonBytes));
const nested = (levels: number) => "[".repeat(levels) + "]".repeat(levels);

describe("JSON that is scanned", () => {
  it("is nested as deep as the limit and no deeper", () => {
    expect(jsonFault(large(nested(BODY_DEPTH)))).toBeUndefined();
    expect(jsonFault(large(nested(BODY_DEPTH + 1)))).toMatchObject({ limit: BODY_DEPTH });
    expect(jsonFault(large("[".repeat(1_000_000)))).toMatchObject({ limit: BODY_DEPTH });
    expect(jsonFault(large('{"a":'.repeat(BODY_DEPTH + 1)))).toMatchObject({ limit: BODY_DEPTH });
  });

  it("has as many objects and lists as the limit and no more", () => {
    const flat = (count: number) => `[${"{},".repeat(count - 2)}{}]`;
    expect(jsonFault(large(flat(limits.jsonContainers)))).toBeUndefined();
    expect(jsonFault(large(flat(limits.jsonContainers + 1)))).toMatchObject({
      limit: limits.jsonContainers,
    });
  });

  it("may say anything in its texts", () => {
    const hostile = fc.string({
      unit: fc.constantFrom("[", "{", '"', "\\", "]", "a", "\u00e9", "\ud83e\udd86"),
    });
    fc.assert(
      fc.property(fc.array(hostile, { maxLength: 20 }), (texts) => {
        const fault = jsonFault(large(JSON.stringify([...texts, "[".repeat(2 * BODY_DEPTH)])));
        expect(fault).toBeUndefined();
      }),
      { numRuns: 50 },
    );
  });

  it("is told from what is too deep behind any text", () => {
    const unit = fc.nat(0xffff).map((code) => String.fromCharCode(code));
    fc.assert(
      fc.property(fc.string({ unit }), (text) => {
        const json = `[${JSON.stringify(text)},${nested(BODY_DEPTH)}]`;
        expect(jsonFault(large(json))).toMatchObject({ limit: BODY_DEPTH });
      }),
      { numRuns: 50 },
    );
  });

  it("that ends in the middle of a text, or is none, is left to the parser", () => {
    for (const text of ['["', '"\\', '["\\"', "]]]]", "", "\0"])
      expect(jsonFault(large(text))).toBeUndefined();
  });
});

it("small JSON is not looked at: its parser copes with it", () => {
  expect(jsonFault(bytesOf("[".repeat(limits.unscannedJsonBytes)))).toBeUndefined();
});
