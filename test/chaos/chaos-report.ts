// What a run of chaos saw, in figures.

import { type ChaosEvent, eventsOf } from "./chaos-event.ts";
import type { ChaosReport } from "./chaos-run.ts";

const SHOWN = 20;

/** The figures of a run, a line each, and whatever the judge has found. */
export function describeRun({ history, audiences, violations }: Omit<ChaosReport, "dir">): string[] {
  const kills = eventsOf(history, "killed");
  const broker = kills.filter(({ whom }) => whom === "broker").length;
  const stored = eventsOf(history, "stored");
  const ids = new Set(stored.map(({ id }) => id));
  const duplicates = stored.filter(({ duplicate }) => duplicate).length;
  const tookUs = (history.at(-1)?.at ?? 0) - (history[0]?.at ?? 0);
  return [
    `seconds        ${Math.round(tookUs / 1_000_000)}`,
    `kill -9        the broker ${broker} times, each time started again; consumers ${kills.length - broker} times`,
    `published      ${ids.size} messages confirmed; ${eventsOf(history, "unanswered").length} publishes had no answer ` +
      `and were sent again; ${duplicates} messages were answered as duplicates`,
    ...audiences.map(({ subscription }) => `${subscription.padEnd(14)} ${figures(history, subscription)}`),
    ...violations.slice(0, SHOWN).map(({ rule, detail }) => `BROKEN         ${rule}: ${detail}`),
    violations.length === 0
      ? "held           no loss, order per key, no acked message handed out again, one effect each, conservation"
      : `BROKEN         ${violations.length} times`,
  ];
}

function figures(history: readonly ChaosEvent[], subscription: string): string {
  const own = history.filter((event) => "subscription" in event && event.subscription === subscription);
  const deliveries = eventsOf(own, "delivered");
  const again = deliveries.length - new Set(deliveries.map(({ id }) => id)).size;
  const acked = eventsOf(own, "acked").length;
  const counted = eventsOf(own, "counted").reduce((sum, { settled, dead }) => sum + settled + dead, 0);
  return (
    `${deliveries.length} deliveries, ${again} of them again; ${eventsOf(own, "effect").length} effects; ` +
    `${acked > 0 ? `${acked} acks confirmed; ` : ""}${counted} settled or dead`
  );
}
