// Refusals as HTTP says them, and the page that explains them.

import { describe, expect, test } from "vitest";
import type { ErrorCode } from "../../src/errors";
import { problemOf, problemResponse, problems } from "../../src/http/problem";
import { readText } from "../support/source-tree";

const codes = Object.keys(problems) as ErrorCode[];
const page = readText("docs/problems.md");

describe("problems", () => {
  test("every code has a section in docs/problems.md, and every section is a code", () => {
    const sections = [...page.matchAll(/^### (.+)$/gm)].map(([, heading]) => heading);
    expect([...sections].sort()).toEqual([...codes].sort());
  });

  test.each(codes)("the section of %s begins with its status", (code) => {
    const section = page.split(`### ${code}\n`)[1] ?? "";
    expect(section.slice(0, 3)).toBe(String(problems[code].status));
  });

  test("a problem names its type, field and limit", () => {
    const error = { code: "payload-too-large", detail: "Too much.", field: "data", limit: 3 } as const;
    expect(problemOf(error)).toEqual({
      type: "/docs/problems#payload-too-large",
      title: "The request is too large",
      status: 413,
      detail: "Too much.",
      retryable: false,
      field: "data",
      limit: 3,
    });
  });

  test("only what may pass by itself is called retryable", () => {
    const passing = codes.filter((code) => problems[code].retryable);
    // A held claim ends; every other 409, and every 400, 413 or 422, would be refused for ever.
    const expected = codes.filter((code) => {
      const { status } = problems[code];
      return (
        status === 408 ||
        status === 429 ||
        code === "claim-in-progress" ||
        (status >= 500 && code !== "not-configured")
      );
    });
    expect(passing).toEqual(expected);
  });

  test("what the broker does not know is left out of a problem", () => {
    const problem = problemOf({ code: "conflict", detail: "No." });
    expect(Object.keys(problem)).toEqual(["type", "title", "status", "detail", "retryable"]);
  });

  test("Retry-After is in whole seconds, no sooner than asked and never zero", () => {
    const after = (retryAfterMs: number) =>
      problemResponse({ code: "unavailable", detail: "Wait.", retryAfterMs }).headers.get("retry-after");
    expect([0, 1, 1000, 1001].map(after)).toEqual(["1", "1", "1", "2"]);
  });

  test("a request without a good token is told how to authenticate", () => {
    const response = problemResponse({ code: "unauthenticated", detail: "Who?" });
    expect(response.status).toBe(401);
    expect(response.headers.get("www-authenticate")).toBe('Bearer realm="pennypost"');
    expect(response.headers.get("content-type")).toBe("application/problem+json");
  });
});
