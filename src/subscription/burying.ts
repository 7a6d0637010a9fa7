// How deliveries come among the dead letters, and leave them: buried with their message, redriven to wait again, or gone
// for good. Those of an earlier epoch are counted apart: its law has ended with it. Synchronous and pure, like settling.

import type { Backlog } from "./backlog";
import type { Delivery, Dying, Waiting } from "./delivery";

/** A dying delivery is dead: it leaves with its message. `parks` holds its lane. */
export function bury(backlog: Backlog, dying: Dying, record: Uint8Array | undefined, parks: boolean): void {
  const lane = dying.orderingKey === undefined ? undefined : backlog.lane(dying.orderingKey);
  if (parks) lane?.parked.add(dying.offset);
  backlog.remove(dying.offset);
  backlog.counters.dead += 1;
  backlog.changes.buried.set(dying.offset, { dying, record, parks: parks && lane !== undefined });
}

/** A dead letter leaves the dead: to wait again, or for good, and how. */
export function unbury(
  backlog: Backlog,
  { offset, orderingKey }: Readonly<{ offset: number; orderingKey?: string | undefined }>,
  to: Delivery | "purged" | "moved",
): void {
  const delivery = typeof to === "string" ? undefined : to;
  backlog.counters.dead -= 1;
  if (typeof to === "string") backlog.end(to, offset);
  backlog.changes.unburied.add(offset);
  backlog.changes.state = true;
  if (delivery) backlog.put(delivery);
  const lane = orderingKey === undefined ? undefined : backlog.lanes.get(orderingKey);
  if (!lane) return;
  lane.parked.delete(offset);
  backlog.touch(lane);
}

/**
 * A dead letter of an earlier epoch leaves: to wait in this one (`delivery`), or for good. It waits outside its
 * lane, which has long gone on.
 */
export function exhume(
  backlog: Backlog,
  { epoch, offset }: Readonly<{ epoch: number; offset: number }>,
  delivery?: Waiting,
): void {
  backlog.counters.formerDead -= 1;
  backlog.changes.exhumed.push({ epoch, offset, isReadmitted: delivery !== undefined });
  backlog.changes.state = true;
  if (!delivery) return;
  backlog.counters.readmitted += 1;
  backlog.put(delivery);
}
