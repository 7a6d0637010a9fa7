// Finds failed attempts where they are kept anyway: with what waits or is leased, and with dead letters. Pure.

import { resultOf } from "../attempt";
import type { AttemptsAnswer, AttemptsCall, FailedDelivery } from "../attempt-calls";
import type { Delivery } from "./delivery";

/** Up to `limit` deliveries that have a matching attempt, by offset, of those in hand and of these dead letters. */
export function findAttempts(
  deliveries: Iterable<Delivery>,
  letters: readonly FailedDelivery[],
  call: AttemptsCall,
): AttemptsAnswer {
  const found: FailedDelivery[] = [];
  for (const delivery of deliveries) {
    if (delivery.offset > call.after && delivery.history.length > 0) found.push(ofDelivery(delivery));
  }
  found.push(...letters);
  const matching = found
    .filter(({ offset }) => call.offset === undefined || offset === call.offset)
    .map((each) => ({ ...each, history: each.history.filter((note) => matches(note, call)) }))
    .filter(({ history }) => history.length > 0)
    .sort((a, b) => a.offset - b.offset);
  const page = matching.slice(0, call.limit);
  const last = page.at(-1);
  return matching.length > page.length && last
    ? { deliveries: page, next: last.offset }
    : { deliveries: page };
}

function ofDelivery(delivery: Delivery): FailedDelivery {
  const { offset, attempts, history } = delivery;
  if (delivery.state !== "waiting") {
    return { offset, attempts, history, state: delivery.state === "leased" ? "leased" : "dead" };
  }
  return { offset, attempts, history, state: "waiting", nextAttemptAt: delivery.availableAt };
}

function matches(note: FailedDelivery["history"][number], asked: AttemptsCall): boolean {
  const { since = 0, status = note.status, result } = asked;
  if (note.at < since || note.status !== status) return false;
  return result === undefined || resultOf(note) === result;
}
