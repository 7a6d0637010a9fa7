// A fuzzing run as text: counts for each route, the slowest answers, and faults with what repeats them.

import type { FuzzReport } from "./fuzz-run.ts";
import type { HostileRequest, World } from "./hostile-requests.ts";

const SHOWN = 400;

/** The run in lines. Tokens are shown by name. */
export function describeFuzz(report: FuzzReport, { authorizations }: World): string[] {
  const { seed, sent, resent, compared, counts, slowest, faults } = report;
  const shown = (request: HostileRequest) => nameTokens(describeRequest(request), authorizations);
  return [
    "2xx    4xx    5xx  route",
    ...[...counts]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([route, statuses]) => countLine(route, statuses)),
    "",
    "slowest:",
    ...slowest.map(({ ms, request }) => `${String(Math.round(ms)).padStart(7)} ms  ${shown(request)}`),
    "",
    ...faults.flatMap(({ what, burst, requests }) => [
      `FAULT in burst ${burst} of seed ${seed}: ${what}`,
      ...requests.slice(0, 3).map((request) => `  ${shown(request)}`),
      ...(requests.length > 3 ? [`  and ${requests.length - 3} more`] : []),
    ]),
    `${sent} requests of seed ${seed} (${resent} of them sent again), state compared ${compared} times: ${faults.length} faults`,
  ];
}

function countLine(route: string, statuses: ReadonlyMap<number, number>): string {
  const of = (least: number, below: number) =>
    [...statuses].reduce((sum, [status, count]) => sum + (status >= least && status < below ? count : 0), 0);
  return `${[of(100, 400), of(400, 500), of(500, 600)].map((count) => String(count).padEnd(7)).join("")}${route}`;
}

function describeRequest({ method, path, headers, body }: HostileRequest): string {
  const text = typeof body === "string" ? JSON.stringify(body) : body && `bytes ${[...body].join(" ")}`;
  const parts = [method, path.slice(0, SHOWN), JSON.stringify(headers).slice(0, 2 * SHOWN)];
  return [...parts, ...(text === undefined ? [] : [text.slice(0, SHOWN)])].join(" ");
}

function nameTokens(text: string, [root = "", other = ""]: readonly string[]): string {
  const named = (from: string, bearer: string, name: string) =>
    bearer === "" ? from : from.replaceAll(bearer.replace("Bearer ", ""), name);
  return named(named(text, root, "$ROOT"), other, "$PUBLISH");
}
