// A producer: it publishes under message ids of its own, and again until each is confirmed. Now and then it publishes
// once more what was confirmed already, as a client does that lost the answer.

import type { Address } from "../support/broker.ts";
import { type NewMessage, publishStored } from "../support/client.ts";
import { pause } from "../support/until.ts";
import { type Body, bodyOf } from "./chaos-body.ts";
import type { Chance } from "./chaos-chance.ts";
import type { Journal } from "./chaos-journal.ts";

export type Producing = Readonly<{
  broker: Address;
  topic: string;
  name: string;
  chance: Chance;
  journal: Journal;
  /** Gets the id of every message that is confirmed. */
  confirmed: Set<string>;
  /** Ends it once what it began is confirmed. */
  closing: AbortSignal;
  /** Ends it at once. */
  abort: AbortSignal;
}>;

/** Shared by all producers, so that they meet in a lane. */
const KEYS = ["amber", "birch", "cedar", "dune", "ember", "fjord", "grove", "heath"];
const MAX_PER_PUBLISH = 6;
const KEYLESS_ONE_IN = 6;
const AGAIN_ONE_IN = 5;
const REST_MS = { least: 20, most: 160 };
const RETRY_MS = 50;

/** Publishes until it is closed. */
export async function produce(producing: Producing): Promise<void> {
  const { chance, closing, abort } = producing;
  for (let n = 0; !closing.aborted && !abort.aborted; ) {
    const bodies = Array.from({ length: chance.between(1, MAX_PER_PUBLISH) }, () => newBody(producing, n++));
    await publishUntilConfirmed(producing, bodies);
    if (chance.oneIn(AGAIN_ONE_IN)) await publishUntilConfirmed(producing, bodies);
    await pause(chance.between(REST_MS.least, REST_MS.most));
  }
}

function newBody({ name, chance }: Producing, n: number): Body {
  return { id: `${name}-${n}`, key: chance.oneIn(KEYLESS_ONE_IN) ? null : chance.oneOf(KEYS), n };
}

async function publishUntilConfirmed(producing: Producing, bodies: readonly Body[]): Promise<void> {
  while (!producing.abort.aborted && !(await isConfirmed(producing, bodies))) await pause(RETRY_MS);
}

/** Publishes once, notes what is confirmed, and says whether all of it is. */
async function isConfirmed(producing: Producing, bodies: readonly Body[]): Promise<boolean> {
  const { broker, topic, name, journal, confirmed } = producing;
  try {
    const answers = await publishStored(broker, topic, bodies.map(message));
    answers.forEach(({ partition, offset, duplicate }, i) => {
      const body = bodies[i];
      if (body === undefined || partition === undefined || offset === undefined) return;
      journal.write({ type: "stored", producer: name, ...body, partition, offset, duplicate: !!duplicate });
      confirmed.add(body.id);
    });
    if (answers.every(({ offset }) => offset !== undefined)) return true;
  } catch {
    // The broker is dead, or died under the request: whether it was stored is not known.
  }
  journal.write({ type: "unanswered", producer: name });
  return false;
}

function message(body: Body): NewMessage {
  return { id: body.id, data: bodyOf(body), ...(body.key !== null && { orderingKey: body.key }) };
}
