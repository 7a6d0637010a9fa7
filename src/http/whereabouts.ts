// A message's way to one subscription as people ask about it: where it is, with a sentence that says why it has not
// arrived, or how it did.

import type { EndpointView } from "../endpoint-view";
import type { Blocker, Trace, Whereabouts } from "../timeline-calls";

export type ShownTrace = Readonly<Record<string, unknown> & { state: Whereabouts["state"]; why: string }>;

/** A trace as JSON: what is known of the delivery, and of the subscription what may hold it up. */
export function showTrace({ where, ...subscription }: Trace): ShownTrace {
  return { ...where, why: why({ where, ...subscription }), ...subscription };
}

function why(trace: Trace): string {
  const { where } = trace;
  if (where.state === "settled") return settled(where);
  if (where.state === "leased")
    return `Handed out for attempt ${where.attempt}, until ${time(where.deadlineAt)}.`;
  if (where.state === "dead") return `A dead letter since ${time(where.diedAt)}: ${where.reason}.`;
  if (where.state === "filtered")
    return `Filtered out: version ${where.version} of the subscription leaves it out.`;
  if (where.state === "unread")
    return join(`Not taken from the log yet; ${where.ahead} before it.`, heldUp(trace));
  if (where.state === "waiting") return join(waiting(where), heldUp(trace));
  if (where.state === "blocked") return join(blocked(where), heldUp(trace));
  return SENTENCES[where.state];
}

const SENTENCES = {
  "before-start": "The subscription began after it.",
  expired: "Its retention or its time to live ended before it was settled.",
  purged: "It was a dead letter, and was purged.",
  moved: "It was a dead letter, and was sent to another topic.",
  forgotten: "It is done with; how it ended is no longer kept.",
  unaccounted: "Nothing accounts for it: ask for the subscription's audit.",
} as const;

const HOW = {
  acked: "Acked by a consumer",
  delivered: "Delivered to the endpoint",
  "already-completed": "Not sent: the ledger had it as completed",
  "handed-out": "Handed out once, at most",
} as const;

function settled({ how, at, attempts, status }: Extract<Whereabouts, { state: "settled" }>): string {
  const words = how in HOW ? HOW[how as keyof typeof HOW] : how;
  const answered = status === undefined ? "" : `, which answered ${status}`;
  return `${words}${answered}, at attempt ${attempts}, ${time(at)}.`;
}

function waiting({
  availableAt,
  attempts,
  behind,
  reason,
}: Extract<Whereabouts, { state: "waiting" }>): string {
  const next = `Waits for attempt ${attempts + 1}, due ${time(availableAt)}`;
  const line = behind ? `${next}, and stands behind ${blockerText(behind)}.` : `${next}.`;
  return reason === undefined ? line : `${line} It was not sent: ${reason}.`;
}

function blocked({ behind, parked }: Extract<Whereabouts, { state: "blocked" }>): string {
  const line = behind ? `Stands behind ${blockerText(behind)}.` : "Stands in the line of its ordering key.";
  return parked ? `${line} The line is parked: redrive or purge its dead letter.` : line;
}

function blockerText({ offset, state }: Blocker): string {
  return `offset ${offset} of its ordering key, which is ${state}`;
}

/** What keeps the subscription from taking anything. */
function heldUp({ paused, pausedReason, endpoint, stalled, inFlightFull }: Trace): string {
  if (paused) return `The subscription is paused${pausedReason === undefined ? "" : `: ${pausedReason}`}.`;
  if (endpoint) return waitingFor(endpoint);
  if (stalled) return "The subscription is stalled: too much waits.";
  return inFlightFull ? "As much is in flight as may be." : "";
}

/** An endpoint that is not well keeps what would be sent to it waiting. */
function waitingFor(endpoint: EndpointView): string {
  const { state, until, reason = "it failed", perSecond = 0 } = endpoint;
  if (state === "unverified") return unverified(endpoint);
  if (state === "open") return `Waits for the endpoint until ${time(until ?? 0)}: ${reason}.`;
  if (state === "probing") return `Waits for the endpoint, which is sent one message to probe it: ${reason}.`;
  return `Waits for the endpoint, which recovers and is sent at most ${perSecond} requests a second.`;
}

function unverified({ until, reason }: EndpointView): string {
  const why = reason === undefined ? "" : `: ${reason}`;
  const next =
    until === undefined ? "Nobody asks it any more: POST …/verify does" : `It is asked at ${time(until)}`;
  return `Waits for the endpoint to be verified${why}. ${next}.`;
}

function join(...sentences: readonly string[]): string {
  return sentences.filter((sentence) => sentence !== "").join(" ");
}

function time(at: number): string {
  const instant = new Date(at);
  return Number.isNaN(instant.getTime()) ? String(at) : instant.toISOString();
}
