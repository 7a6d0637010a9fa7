// Moves dead letters to another topic: the topic stores their messages first, and only then they are taken out. Broken
// off anywhere and asked again, each is in the other topic once.

import type { TopicEntry } from "../catalog/catalog-entry";
import type { DeadLetter, DeadLetterSelection } from "../dead-letter-calls";
import { ok, type Result, refuse } from "../errors";
import { fingerprintBytes } from "../fingerprint";
import type { Message } from "../message";
import { toBase64 } from "../message-json";
import { unpackRecords } from "../record-batch";
import { sha256 } from "./auth";
import type { Broker } from "./broker";
import type { Selection } from "./dead-letter-schemas";
import { type Bound, bindLetters, callsOf, type Moving, refusalOf, unmovable } from "./letter-move";
import { applyToChosen, type Count, type Refusal, type Step } from "./letters-store";
import { subscriptionAt, topicAt } from "./partition-routes";
import type { Found } from "./place-routes";
import { mayDo, type Principal } from "./scope";

type Course = Readonly<{ broker: Broker; found: Found; target: TopicEntry }>;

/** Whether the token may publish to the target; nobody else is told whether it exists. */
export function mayMoveTo(principal: Principal, target: string): Result<null> {
  if (mayDo(principal, ["publish"], target)) return ok(null);
  return refuse("forbidden", `This needs the scope publish on "${target}".`, { field: "toTopic" });
}

/** Moves the chosen to the topic or queue `toTopic`. Stops when that cannot take them now: ask again. */
export async function moveLetters(
  broker: Broker,
  found: Found,
  chosen: Selection,
  toTopic: string,
): Promise<Result<Count>> {
  const target = await broker.catalog.store.topic(toTopic);
  if (!target.ok) return target;
  const course = { broker, found, target: target.value };
  return applyToChosen(found.topic.partitions, chosen, (partition, some) =>
    moveSome(course, partition, some),
  );
}

async function moveSome(
  { broker, found, target }: Course,
  partition: number,
  chosen: DeadLetterSelection,
): Promise<Result<Step>> {
  const at = subscriptionAt(broker, found.subscription, partition);
  const page = await at.findDeadLetters(chosen);
  if (!page.ok) return page;
  const { letters, next } = page.value;
  const refusals: Refusal[] = [];
  const place = ({ epoch, offset }: DeadLetter) => ({ partition, epoch, offset });
  const now = broker.runtime.now();
  const moving: Promise<Moving>[] = [];
  for (const { record, ...letter } of letters) {
    const [message] = record ? unpackRecords(record) : [];
    const error = unmovable(message, now);
    if (error) refusals.push({ at: place(letter), error });
    else if (message) moving.push(toMoving(letter, message));
  }
  const origin = { generation: found.subscription.generation, partition };
  const sent = await sendAll(broker, target, bindLetters(await Promise.all(moving), target, origin));
  // What the target has is taken out, also when it did not take the rest.
  const left = sent.taken.map(({ epoch, offset, redrives }) => ({ epoch, offset, redrives }));
  const moved = left.length > 0 ? await at.moveLetters({ letters: left }) : ok({ moved: 0 });
  if (!moved.ok) return moved;
  refusals.push(...sent.refused.map(({ letter, error }) => ({ at: place(letter), error })));
  return ok({ done: moved.value.moved, refusals, next, stopped: sent.stopped });
}

async function toMoving(letter: DeadLetter, message: Message): Promise<Moving> {
  const digest = await sha256(fingerprintBytes(message));
  return { letter, message, fingerprint: toBase64(new Uint8Array(digest)) };
}

type Sent = Readonly<{
  taken: readonly DeadLetter[];
  refused: readonly Readonly<{ letter: DeadLetter; error: Refusal["error"] }>[];
  /** The first refusal of a whole call; what came after it was not sent, so that no key is overtaken. */
  stopped?: Refusal["error"];
}>;

async function sendAll(broker: Broker, target: TopicEntry, bounds: readonly Bound[]): Promise<Sent> {
  const taken: DeadLetter[] = [];
  const refused: { letter: DeadLetter; error: Refusal["error"] }[] = [];
  let outOfDate: Refusal["error"] | undefined;
  for (const call of callsOf(bounds)) {
    const batches = call.map(({ batch }) => batch);
    const answers = await topicAt(broker, target, batches[0]?.partition ?? 0).append({ batches });
    if (!answers.ok) {
      // So that whoever asks again, as for a subscription that is gone, finds the target as it is now.
      if (answers.error.code === "gone") broker.catalog.store.forget(target.name);
      return { taken, refused, stopped: answers.error };
    }
    const byId = new Map(answers.value.map((answer) => [answer.batchId, answer]));
    for (const { letter, batch } of call) {
      const error = refusalOf(byId.get(batch.batchId), target.name);
      if (!error) taken.push(letter);
      else if (error.code === "unavailable") outOfDate ??= error;
      else refused.push({ letter, error });
    }
    if (outOfDate) {
      broker.catalog.store.forget(target.name);
      return { taken, refused, stopped: outOfDate };
    }
  }
  return { taken, refused };
}
