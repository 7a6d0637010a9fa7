// What publishers did and were told, over all lives of a topic's name: which contents they meant by an id, which of their
// requests are still under way, and what they were promised.

import type { Outcome } from "../../src/http/publish";
import type { Draft } from "../../src/http/publish-items";
import type { Message } from "../../src/message";
import { DEFAULT_PRIORITY } from "../../src/priority";
import type { LogWitness, Place } from "./log-witness";

/** One id as its publishers meant it: the contents they tried it with, and requests that may still write it. */
type Meant = {
  readonly texts: Set<string>;
  readonly key: string | undefined;
  readonly priority: number;
  underWay: number;
  lastEndedAt: number;
};
/** By log and ordering key, the highest place that publishers know of. */
export type Floors = ReadonlyMap<LogWitness, ReadonlyMap<string, Place>>;

const decoder = new TextDecoder();

export class Publications {
  /** The logs of the name's lives, newest last. */
  readonly logs: LogWitness[] = [];
  private readonly meant = new Map<string, Meant>();
  private readonly accepted = new Set<string>();
  private readonly stored = new Map<string, Readonly<{ log: LogWitness; place: Place }>>();
  private readonly scheduled = new Set<string>();
  private readonly highest = new Map<LogWitness, Map<string, Place>>();

  /** A publisher begins to publish. Answers, by key, the highest place it already knows of. */
  publishing(drafts: readonly Draft[]): Floors {
    for (const { message, priority = DEFAULT_PRIORITY } of drafts) {
      const { id, orderingKey, body } = message;
      const fresh = { texts: new Set<string>(), key: orderingKey, priority, underWay: 0, lastEndedAt: 0 };
      const known = this.meant.get(id) ?? fresh;
      known.texts.add(decoder.decode(body));
      known.underWay += 1;
      this.meant.set(id, known);
    }
    return new Map([...this.highest].map(([log, places]) => [log, new Map(places)]));
  }

  /** The publisher was answered: nothing of this request is under way any more, but what was accepted. */
  answered(message: Message, outcome: Outcome, floors: Floors, at: number): void {
    const { id, orderingKey, body } = message;
    const meant = this.meant.get(id);
    if (meant) Object.assign(meant, { underWay: meant.underWay - 1, lastEndedAt: at });
    if (outcome.status === "accepted") this.accepted.add(id);
    if (outcome.status === "scheduled") this.scheduled.add(id);
    if (outcome.status === "cancelled" && !this.logs.some((log) => log.cancelled.has(id)))
      throw new Error(`${id} was answered as cancelled, and nobody cancelled it`);
    if (outcome.status === "refused" && outcome.error.code === "id-reused" && (meant?.texts.size ?? 0) < 2)
      throw new Error(`${id} was refused as reused, and has one content only`);
    if (outcome.status !== "stored") return;
    const place = { partition: outcome.partition, offset: outcome.offset };
    const log = this.logs.findLast((each) => each.log(place.partition)[place.offset]?.id === id);
    if (!log) throw new Error(`${id} was stored at ${JSON.stringify(place)}, where it is not`);
    if (log.log(place.partition)[place.offset]?.text !== decoder.decode(body))
      throw new Error(`${id} was answered as stored with another's content`);
    this.stored.set(id, { log, place });
    if (orderingKey !== undefined && !outcome.duplicate) this.rise(log, orderingKey, place, floors);
  }

  /** What was published after another of its key was answered lies behind it; since a raise, in a higher partition. */
  private rise(log: LogWitness, orderingKey: string, place: Place, floors: Floors): void {
    // Between priorities a key has no order.
    const key = `${log.priorityOf(place.partition)} ${orderingKey}`;
    const floor = floors.get(log)?.get(key);
    if (floor && !isAfter(place, floor))
      throw new Error(`key ${key}: ${JSON.stringify(place)} was answered after ${JSON.stringify(floor)}`);
    const places = this.highest.get(log) ?? new Map<string, Place>();
    this.highest.set(log, places);
    const highest = places.get(key);
    if (!highest || isAfter(place, highest)) places.set(key, place);
  }

  /** A message came into a log. Whatever was published before that log's life began has no way into it. */
  arrived(
    { id, key, text }: Readonly<{ id: string; key: string | undefined; text: string }>,
    bornAt: number,
    priority: number | undefined,
  ): void {
    const meant = this.meant.get(id);
    if (meant && priority !== undefined && meant.priority !== priority)
      throw new Error(`${id} of priority ${meant.priority} was stored among those of ${priority}`);
    if (!meant?.texts.has(text) || meant.key !== key)
      throw new Error(`${id} was stored as nobody published it`);
    if (meant.underWay === 0 && meant.lastEndedAt < bornAt)
      throw new Error(`${id} was published to a life that had ended, and reached the next`);
  }

  /** At the end: every message that was accepted, stored or scheduled has its place, or is stranded. */
  checkKept(stranded: ReadonlySet<string>, isAlive: (log: LogWitness) => boolean): void {
    const isPlaced = (id: string) => this.logs.some((log) => log.placeOf(id));
    for (const id of this.accepted) {
      if (!isPlaced(id) && !stranded.has(id)) throw new Error(`${id} was accepted, and is nowhere`);
    }
    for (const [id, { log, place }] of this.stored) {
      if (log.log(place.partition)[place.offset]?.id !== id) throw new Error(`${id} was stored, and is gone`);
    }
    const isOne = this.logs.length === 1 && this.logs.every(isAlive);
    for (const id of isOne ? this.scheduled : []) {
      if (!isPlaced(id) && !this.logs.some((log) => log.cancelled.has(id)))
        throw new Error(`${id} was scheduled, and is nowhere`);
    }
  }
}

function isAfter(place: Place, other: Place): boolean {
  if (place.partition !== other.partition) return place.partition > other.partition;
  return place.offset > other.offset;
}
