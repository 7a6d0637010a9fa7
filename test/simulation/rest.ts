// How a world comes to rest when its faults have ended: alarms alone must bring everything to its end, while consumers ack
// and operators redrive, resume, send on, and finish what they began. Then every message is accounted for.

import type { Result } from "../../src/errors";
import { limits } from "../../src/limits";
import type { SubscriptionStats } from "../../src/subscription-calls";
import type { Dangers } from "./dangers";
import type { Watched } from "./lives";
import { idsIn } from "./log-witness";
import { isTold } from "./match-witness";
import { checkTurns } from "./priority-checks";
import type { Steps } from "./steps";
import { nameOf, pastFiltered } from "./watch";
import type { World } from "./world";

const QUIET_ROUNDS = 60;
const QUIET_STEPS = 15_000;
const ROUND_MS = 20_000;

/**
 * Time goes on without faults. Objects whose alarm the platform gave up are poked once, as the sweep would. The sweep
 * itself goes on only where something may be half done that it alone repairs.
 */
export async function settleDown(world: World, steps: Steps, dangers: Dangers): Promise<void> {
  const { agenda, objects } = world.platform;
  // So long an object may still believe in an alarm that is overdue.
  await world.run(limits.lookAgainMs + 1_000);
  for (const object of objects.values()) if (object.alarmLost) steps.clients.poke(object);
  const enough = agenda.steps + QUIET_STEPS;
  for (let round = 0; round < QUIET_ROUNDS && agenda.steps < enough; round++) {
    await world.run(ROUND_MS);
    if (isDone(world, steps)) return;
    if (world.plan.isSwept) dangers.sweep();
    operate(world, steps);
    for (let pulls = 0; pulls < 4 && agenda.steps < enough; pulls++) {
      for (const _ of world.living) steps.consumers.pull(100);
      await world.run(5_000);
      steps.consumers.ackAll();
      // What ends a loop parks its lane, message by message.
      if (world.plan.features.has("forwards")) clearDead(world, steps);
    }
  }
  throw new Error(`it never came to rest: ${describe(world)}; whole: ${steps.lives.isWhole}`);
}

function operate(world: World, steps: Steps): void {
  steps.publishers.resend(world.topicRow()?.generation);
  if (!steps.lives.isWhole) steps.lives.restore();
  steps.relays.drain();
  for (const watched of world.living) {
    if (watched.picture?.paused) steps.lives.setPaused(false, watched);
    else if (deadOf(watched) > 0) steps.operators.clear(watched);
  }
}

function clearDead(world: World, steps: Steps): void {
  for (const watched of world.living)
    if (!watched.picture?.paused && deadOf(watched) > 0) steps.operators.clear(watched);
}

function describe(world: World): string {
  const open = world.living.map((watched) => {
    const { counters, leasedCount, waitingCount, dead } = watched.picture ?? {};
    const head = watched.topic.log.log(watched.partition).length;
    return `${nameOf(watched)} ${JSON.stringify({ head, ...counters, leasedCount, waitingCount, dead: [...(dead ?? [])] })}`;
  });
  return `${open.join("; ")}; ${world.platform.ingress.size} in INGRESS; ${world.log?.delays.size} delayed`;
}

function deadOf({ picture }: Watched): number {
  return (picture?.dead.size ?? 0) + (picture?.counters.formerDead ?? 0);
}

function isDone(world: World, steps: Steps): boolean {
  const { platform } = world;
  if (platform.ingress.size + platform.ingressDead.size > 0) return false;
  if (!steps.lives.isWhole || !steps.relays.isDrained || !isTold(world)) return false;
  if ((world.log?.delays.size ?? 0) > 0 || strandedIn(world, world.topicRow()?.generation).length > 0)
    return false;
  return world.living.every((watched) => {
    const { picture, partition, topic, unconfirmed } = watched;
    // What is not on disk yet its witness has not seen.
    if (!picture || unconfirmed.length > 0 || deadOf(watched) > 0) return false;
    const head = topic.log.log(partition).length;
    const isRead = pastFiltered(watched, picture.counters.nextOffset, head) === head;
    return isRead && picture.inHand.size + picture.followers === 0;
  });
}

/** The stranded record batches; `generation`: those that have somewhere to go. */
function strandedIn(world: World, generation?: string): readonly Uint8Array[] {
  return world.platform.catalog
    .peek<{ packed: Uint8Array; generation: string }>("SELECT packed, generation FROM stranded_batches")
    .filter((row) => generation === undefined || row.generation === generation)
    .map(({ packed }) => packed);
}

/** Every message has come to its end, and the public stats say the same. */
export async function checkEnd(world: World, steps: Steps): Promise<void> {
  const stranded = new Set(strandedIn(world).flatMap(idsIn));
  if (world.plan.replacesTopic) world.counts.strandedForGood += strandedIn(world).length;
  world.publications.checkKept(stranded, (log) => log === world.log);
  for (const watched of world.living) {
    const { topic, partition, witness, picture } = watched;
    const head = topic.log.log(partition).length;
    for (let offset = picture?.counters.startOffset ?? 0; offset < head; offset++) {
      const isLeft = witness.isFinished(offset) || witness.leavesOut(offset);
      if (!isLeft && !topic.log.mayExpire(partition, offset, world.platform.agenda.now))
        throw new Error(`${nameOf(watched)}: ${offset} has no end`);
    }
    const asked: Promise<Result<SubscriptionStats>> = steps.clients.subscription(watched).stats();
    await checkAudit(world, steps, watched);
    const { unread, nextOffset, leased, waiting, settled } = await world.finish(asked);
    // What is filtered at the end of the log may be looked at again, and is not while nothing comes after it.
    const isRead = unread === 0 || pastFiltered(watched, nextOffset, head) === head;
    if (!isRead || leased + waiting > 0 || settled !== witness.acked)
      throw new Error(`${nameOf(watched)}: the stats say otherwise`);
  }
  if (world.plan.priorities) await checkTurns(world, steps);
}

/** The audit finds no offset that breaks the law. */
async function checkAudit(world: World, steps: Steps, watched: Watched): Promise<void> {
  const { breach } = await world.finish(steps.clients.subscription(watched).audit({ from: 0 }));
  if (breach) throw new Error(`${nameOf(watched)}: the audit says ${JSON.stringify(breach)}`);
}
