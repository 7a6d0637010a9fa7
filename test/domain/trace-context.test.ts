// W3C Trace Context: what is believed, and the span of an attempt.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { childTraceparent, isTraceparent, readTrace } from "../../src/trace-context";

const TRACE = "0af7651916cd43dd8448eb211c80319c";
const SPAN = "b7ad6b7169203331";
const PARENT = `00-${TRACE}-${SPAN}-01`;

describe("a trace context", () => {
  test("an invalid traceparent counts as absent, and its tracestate with it", () => {
    const invalid = [
      ...["", "x", `${PARENT}-more`, `ff-${TRACE}-${SPAN}-01`, PARENT.toUpperCase()],
      ...[`00-${"0".repeat(32)}-${SPAN}-01`, `00-${TRACE}-${"0".repeat(16)}-01`, `00-${TRACE}-${SPAN}`],
      `01-${TRACE}-${SPAN}-01-${"x".repeat(100)}`,
    ];
    for (const each of invalid) expect([each, readTrace(each, "a=b")]).toEqual([each, {}]);
    expect(readTrace(null, "a=b")).toEqual({});
  });

  test("a version of tomorrow is believed as far as today's reaches", () => {
    expect(isTraceparent(`01-${TRACE}-${SPAN}-09-more`)).toBe(true);
    expect(childTraceparent(`01-${TRACE}-${SPAN}-09-more`, () => 0.5)).toBe(
      `00-${TRACE}-8000000080000000-01`,
    );
  });

  test("a tracestate goes along whole, or not at all", () => {
    expect(readTrace(PARENT, " a=b,c=d ")).toEqual({ traceparent: PARENT, tracestate: "a=b,c=d" });
    expect(readTrace(PARENT, `a=${"b".repeat(510)}`).tracestate).toHaveLength(512);
    expect(readTrace(PARENT, `a=${"b".repeat(511)}`)).toEqual({ traceparent: PARENT });
    expect(readTrace(PARENT, "a=é")).toEqual({ traceparent: PARENT });
  });

  test("a child is another valid span of the same trace, whatever chance says", () => {
    const chance = fc.oneof(fc.constant(0), fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }));
    fc.assert(
      fc.property(chance, chance, (a, b) => {
        const draws = [a, b];
        const child = childTraceparent(PARENT, () => draws.shift() ?? 0) ?? "";
        return isTraceparent(child) && child.startsWith(`00-${TRACE}-`) && child.endsWith("-01");
      }),
    );
    expect(childTraceparent("x", () => 0)).toBeUndefined();
  });
});
