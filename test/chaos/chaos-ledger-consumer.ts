// A consumer that is idempotent by the broker's ledger: it claims the message id, does its effect, completes the claim,
// acks. Its effect is a line of its journal. Killed between effect and completion, it finds the line when it starts
// again, and completes what it did; nobody else was given the claim meanwhile.

import { call, nack, type Pulled, send } from "../support/client.ts";
import { broker, consume, entry, journal, name, path, stubbornly } from "./chaos-consumer.ts";
import { eventsOf } from "./chaos-event.ts";
import { readJournal } from "./chaos-journal.ts";

type Claim = Readonly<{ state: string; fence: number }>;

const CLAIMS = "/v1/ledgers/chaos/claims";
/** Longer than a consumer and the broker are ever dead together. */
const LEASE_MS = 120_000;
const HELD_MS = 200;
const done = new Set<string>();

await takeUp();
await consume(serve);

/** Ends every claim that an earlier life had begun: completed when its effect was done, else given up. */
async function takeUp(): Promise<void> {
  const history = readJournal(journal.path);
  for (const { id } of eventsOf(history, "effect")) done.add(id);
  const finished = new Set(eventsOf(history, "finished").map(({ id }) => id));
  const begun = new Set(eventsOf(history, "begun").map(({ id }) => id));
  for (const id of begun) {
    if (finished.has(id)) continue;
    const claim = await claimFor(id);
    if (claim.status === 201) await settle(done.has(id) ? "complete" : "fail", id, claim.body.fence);
    if (done.has(id)) journal.write({ type: "finished", id });
  }
}

async function serve(message: Pulled): Promise<boolean> {
  const { id } = message;
  journal.write({ type: "begun", id });
  const claim = await claimFor(id);
  if (claim.status === 409) return giveBack(message);
  if (claim.status === 201) {
    if (!done.has(id)) journal.write({ type: "effect", ...entry(message) });
    done.add(id);
    await settle("complete", id, claim.body.fence);
  }
  journal.write({ type: "finished", id });
  return true;
}

/** Claims until it is answered 201 (ours), 200 (completed) or 409 (another's): the same claimant gets the same claim. */
function claimFor(messageId: string) {
  return stubbornly(async () => {
    const json = { messageId, claimant: name, leaseMs: LEASE_MS };
    const answer = await send<Claim>(broker, "POST", CLAIMS, { json });
    if ([200, 201, 409].includes(answer.status)) return answer;
    throw new Error(`claim answered ${answer.status}`);
  });
}

function settle(verb: "complete" | "fail", id: string, fence: number): Promise<unknown> {
  return stubbornly(() => call(broker, "POST", `${CLAIMS}/${id}/${verb}`, { json: { fence } }));
}

/** Somebody holds the claim, perhaps somebody who was killed and will be back. */
async function giveBack(message: Pulled): Promise<false> {
  await nack(broker, path, [message], { delayMs: HELD_MS, reason: "claimed by another" }).catch(
    () => undefined,
  );
  return false;
}
