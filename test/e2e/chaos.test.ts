// A small run of chaos (`npm run chaos` has the large one): the broker and its consumers are killed with -9 under load,
// and the histories that everybody wrote down are judged. Effectively-once is left to the large run: the claims of a
// killed dispatcher outlive it by a minute.

import { expect, test } from "vitest";
import { eventsOf } from "../chaos/chaos-event.ts";
import { runChaos } from "../chaos/chaos-run.ts";

const KILLS = 3;
const SEED = 20_261_124;
/** Far longer than it takes: a start of the broker on a busy machine takes many seconds, and there are four. */
const WITHIN_MS = 300_000;

test(
  "whoever is killed, nothing confirmed is lost, keys keep their order, and each effect is made once",
  async () => {
    const { history, audiences, violations } = await runChaos({
      ...{ kills: KILLS, seed: SEED, effectivelyOnce: false },
    });
    expect(violations).toEqual([]);
    const kills = eventsOf(history, "killed").map(({ whom }) => whom);
    expect(kills.filter((whom) => whom === "broker")).toHaveLength(KILLS);
    expect(kills.filter((whom) => whom !== "broker")).not.toEqual([]);
    const confirmed = new Set(eventsOf(history, "stored").map(({ id }) => id)).size;
    expect(confirmed).toBeGreaterThanOrEqual(KILLS * 40);
    expect(eventsOf(history, "effect")).toHaveLength(confirmed * audiences.length);
  },
  WITHIN_MS,
);
