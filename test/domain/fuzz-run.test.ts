// The fuzzing run itself, against small brokers with one fault each: it is found, and named by its request.

import { expect, test } from "vitest";
import { type FuzzAnswer, faultOf } from "../fuzz/fuzz-judge";
import { fuzz, narrow } from "../fuzz/fuzz-run";
import type { Ask } from "../fuzz/fuzz-world";
import type { HostileRequest, OpenApi } from "../fuzz/hostile-requests";

const refusal = (status: number, code: string, title: string): FuzzAnswer => ({
  ...{ status, contentType: "application/problem+json", ms: 1 },
  text: JSON.stringify({ type: `/docs/problems#${code}`, title, status, detail: "d", retryable: false }),
});
const invalid = refusal(400, "invalid-request", "The request is not valid");
const body = {
  type: "object",
  required: ["max"],
  properties: { max: { type: "integer", minimum: 1, maximum: 9 }, url: { type: "string" } },
  additionalProperties: false,
};
const operation = {
  security: [{}],
  parameters: [{ name: "topic", in: "path" as const, schema: { type: "string", maxLength: 255 } }],
  requestBody: { content: { "application/json": { schema: body } } },
};
const document: OpenApi = {
  paths: { "/v1/topics/{topic}": { put: operation, get: operation } },
  components: { schemas: {} },
};
const world = {
  known: { topic: ["t", "q"] },
  spares: { topic: ["x"] },
  authorizations: ["Bearer r", "Bearer p"],
};

function runOn(answer: (request: HostileRequest) => FuzzAnswer, seed = 7, ask: Ask = stored([])) {
  const send = async (request: HostileRequest) => answer(request);
  const limits = { requests: 2_000, seed, concurrency: 3, withinMs: 1_000 };
  return fuzz({ document, world, send, ask, ...limits });
}

function stored(topics: readonly string[]): Ask {
  return async (_method, path) => {
    if (path.endsWith("/stats")) return { status: 200, body: { partitions: [] } };
    return { status: 200, body: { topics: topics.map((name) => ({ name })), next: null } };
  };
}

test("a broker that refuses everything well has no fault, and its state was compared", async () => {
  const { faults, sent, compared } = await runOn(() => invalid);
  expect({ faults, sent }).toEqual({ faults: [], sent: 2_000 });
  expect(compared).toBeGreaterThanOrEqual(3);
});

test("a 500 to one kind of body is found with its request", async () => {
  const { faults } = await runOn(({ body }) =>
    typeof body === "string" && body.includes("__proto__") ? { ...invalid, status: 500 } : invalid,
  );
  expect(faults.length).toBeGreaterThan(0);
  expect(faults.every(({ requests }) => String(requests[0]?.body).includes("__proto__"))).toBe(true);
});

test("a 503 that one request always gets is a fault, and one that passes is none", async () => {
  const away = refusal(503, "overloaded", "The broker is overloaded");
  const said = { ...away, text: away.text.replace("false", "true") };
  const seen = new Set<HostileRequest>();
  const passing = await runOn((request) => {
    const isNew = !seen.has(request);
    seen.add(request);
    return isNew ? said : invalid;
  });
  expect(passing.faults).toEqual([]);
  expect((await runOn(() => said)).faults.length).toBeGreaterThan(0);
});

test("a refused request that is stored all the same is found, alone", async () => {
  const topics: string[] = [];
  const answer = (request: HostileRequest) => {
    if (request.method === "LOCK") topics.push(`made-${topics.length}`);
    return invalid;
  };
  const { faults } = await runOn(answer, 7, stored(topics));
  expect(faults[0]?.what).toMatch(/changed topics made-/);
  expect(faults[0]?.requests.map(({ method }) => method)).toEqual(["LOCK"]);
});

test("a request that no route may forgive, and one does, is a fault", async () => {
  const { faults } = await runOn(({ method }) => (method === "LOCK" ? { ...invalid, status: 204 } : invalid));
  expect(faults[0]?.what).toMatch(/had to be/);
  expect(faults[0]?.requests[0]?.method).toBe("LOCK");
});

test("two seeds have no request in common that is worth a word", async () => {
  const runs = await Promise.all(
    [1, 2].map(async (seed) => {
      const sent = new Set<string>();
      await runOn((request) => {
        if (typeof request.body === "string" && request.body.length > 40) sent.add(JSON.stringify(request));
        return invalid;
      }, seed);
      return sent;
    }),
  );
  const [first = new Set(), second = new Set()] = runs;
  expect(first.size).toBeGreaterThan(100);
  expect([...first].filter((request) => second.has(request)).length).toBeLessThan(first.size / 4);
});

test("how far it has come is said also while a burst is under way", async () => {
  const said: string[] = [];
  const ask = stored([]);
  const send = async () => invalid;
  const limits = { requests: 400, seed: 7, concurrency: 3, withinMs: 1_000 };
  await fuzz({ document, world, send, ask, ...limits, say: (line) => said.push(line), sayEveryMs: 0 });
  expect(said.some((line) => /\b0 of 400; 1 answered, 1 of them refused/.test(line))).toBe(true);
});

test("the same seed makes the same requests, and none tells the broker to send beyond this machine", async () => {
  const runs = await Promise.all(
    [1, 2].map(async () => {
      const sent: string[] = [];
      await runOn((request) => {
        sent.push(JSON.stringify(request));
        return invalid;
      });
      return sent.sort();
    }),
  );
  expect(runs[0]).toEqual(runs[1]);
  const urls = runs.flat().flatMap((text) => text.match(/https?:\/\/[^/"\\]+/g) ?? []);
  expect([...new Set(urls)]).toEqual(["http://127.0.0.1:9"]);
});

test("a refusal that is no problem of the table is a fault", () => {
  const request = { route: "", method: "GET", path: "/", headers: [] };
  const judge = (answer: FuzzAnswer) => faultOf(request, answer, 1_000);
  expect(judge(invalid)).toBeUndefined();
  expect(judge({ ...invalid, ms: 2_000 })).toMatch(/2000 ms/);
  expect(judge({ ...invalid, contentType: "text/html" })).toMatch(/text\/html/);
  expect(judge({ ...invalid, text: "no" })).toMatch(/no JSON/);
  expect(judge({ ...invalid, text: invalid.text.replace("invalid-request", "constructor") })).toMatch(
    /table/,
  );
  expect(judge({ ...invalid, status: 404 })).toMatch(/not the table's/);
});

test("narrowing finds the one, and says when there is none", async () => {
  const numbers = Array.from({ length: 100 }, (_, index) => index);
  expect(await narrow(numbers, async (part) => part.includes(61))).toEqual([61]);
  expect(await narrow(numbers, async () => false)).toBeUndefined();
});
