// A dead letter's message on its way to another topic: a record batch of its own, whose id tells the letter and how
// often it went round. So the topic answers a move that is made again as it did at first, and has the message once.

import type { DeadLetter } from "../dead-letter-calls";
import { type BrokerError, refuse } from "../errors";
import { limits } from "../limits";
import type { Message } from "../message";
import type { Laid } from "../priority";
import type { RecordBatch } from "../record-batch";
import type { BatchAnswer } from "../topic-calls";
import { bind } from "./publish";

export type Moving = Readonly<{ letter: DeadLetter; message: Message; fingerprint: string }>;
export type Bound = Readonly<{ letter: DeadLetter; batch: RecordBatch }>;
type Target = Readonly<{ generation: string }> & Laid;
type Origin = Readonly<{ generation: string; partition: number }>;

/** The record batch of each, for its partition of `target`: by its ordering key, else by its id. */
export function bindLetters(letters: readonly Moving[], target: Target, origin: Origin): readonly Bound[] {
  return letters.flatMap(({ letter, message: { deliverAt: _, unmatched: __, ...message }, fingerprint }) => {
    // It was delayed once, and is not to be again; and the target says anew whether somebody matches it.
    const newId = () => moveId(origin, letter);
    // Its priority was that of a place in another topic: here it has the default.
    const bounds = bind([{ index: 0, message, fingerprint }], target, { choice: 0, newId });
    return bounds.map(({ batch }) => ({ letter, batch }));
  });
}

function moveId({ generation, partition }: Origin, { epoch, offset, redrives }: DeadLetter): string {
  return `move:${generation}:${partition}:${epoch}:${offset}:${redrives}`;
}

/** Cuts them into append calls: each is bound for one partition and fits one row of it, and their order is kept in each. */
export function callsOf(bounds: readonly Bound[]): readonly (readonly Bound[])[] {
  return [...Map.groupBy(bounds, ({ batch }) => batch.partition).values()].flatMap((bound) => {
    const calls: Bound[][] = [];
    let room = 0;
    for (const each of bound) {
      const call = calls.at(-1);
      room -= each.batch.records.byteLength;
      if (call && room >= 0) call.push(each);
      else {
        calls.push([each]);
        room = limits.rowBytes - each.batch.records.byteLength;
      }
    }
    return calls;
  });
}

/**
 * Why the target did not take a letter's message, if it did not. A message that it has had from elsewhere may long be
 * settled there: the letter stays, for nobody would be handed it.
 */
export function refusalOf(answer: BatchAnswer | undefined, target: string): BrokerError | undefined {
  if (!answer) throw new Error("the topic did not answer a record batch");
  const { batchId: _, firstOffset: __, count: ___, exceptions, movedTo, ...more } = answer;
  // What else an answer comes to say must be heard here first: a letter that is wrongly taken out is lost.
  more satisfies Record<string, never>;
  if (movedTo !== undefined) return raisedRefusal();
  const [exception] = exceptions;
  if (!exception) return undefined;
  if ("error" in exception) return exception.error;
  return refuse("conflict", `The topic "${target}" has had this message before.`, { field: "toTopic" }).error;
}

/** The target was raised a moment ago, and this isolate had not heard of it: asked again, the message goes to its new place. */
function raisedRefusal(): BrokerError {
  const retryAfterMs = limits.catalogRetryMs;
  return refuse("unavailable", "The topic was given more partitions; ask again.", { retryAfterMs }).error;
}

/** Why a letter cannot be moved, whatever the target, if it cannot. `message` is absent when retention overtook it. */
export function unmovable(message: Message | undefined, now: number): BrokerError | undefined {
  if (!message)
    return refuse("message-not-found", "Retention removed its message: there is nothing to move.").error;
  if (message.expiresAt === undefined || message.expiresAt > now) return undefined;
  return refuse("conflict", "Its message has expired: nobody would be handed it.").error;
}
