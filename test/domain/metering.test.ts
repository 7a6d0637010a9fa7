// What an isolate keeps of the limits that it meets: those in use, however many others go by.

import { expect, test } from "vitest";
import type { Env } from "../../src/env";
import { ok } from "../../src/errors";
import type { Broker } from "../../src/http/broker";
import { Metering } from "../../src/http/metering-store";
import type { Principal } from "../../src/http/scope";
import { limits } from "../../src/limits";

const AT = Date.UTC(2026, 10, 24, 12);
const principal = (id: string): Principal => ({ id, scopes: [], limits: { rateLimit: { perHour: 3 } } });

test("a limit that is in use is not forgotten for others that are seen once, so what it was lent is bounded", async () => {
  let asked = 0;
  const away = {
    take: async () => {
      asked += 1;
      throw new Error("the limiter is away");
    },
    look: async () => ok([]),
  };
  const env = { LIMITER: { getByName: () => away } } as unknown as Env;
  const runtime = { now: () => AT, newId: () => "id", random: () => 0 };
  const take = async (id: string) => {
    const metering = new Metering({ env, runtime, log: false } as unknown as Broker, new Map());
    return (await metering.takeRequest(principal(id))).ok;
  };
  expect([await take("busy"), await take("busy")]).toEqual([true, true]);
  const half = limits.metersKept / 2;
  for (let i = 0; i < half; i++) await take(`first ${i}`);
  expect(await take("busy")).toBe(true);
  for (let i = 0; i < half; i++) await take(`second ${i}`);
  expect(await take("busy")).toBe(false);
  expect(asked).toBe(limits.limiterTries * (limits.metersKept + 1));
});
