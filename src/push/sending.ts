// How a dispatch sends: it claims, under effectively-once, and then has a few requests under way at once, one for each lane.
// What it may not send, or not any more, it gives back.

import { noteRequest } from "../endpoint-signs";
import { checkEndpointUrl } from "../endpoint-url";
import { isUnverified } from "../endpoint-verification";
import { limits } from "../limits";
import { claimRetentionMs } from "./claim-retention";
import { type Credentials, openCredentials, sendAuthorized } from "./credentials";
import type { Item, WebhookAnswer } from "./dispatch-plan";
import * as plans from "./dispatch-plan";
import { advance, giveBack, type Run } from "./dispatch-run";
import { slotsAt } from "./held-slots";
import { keepReply, repliesTo } from "./replying";
import { noteBegun, waitForTurn } from "./sharing";
import type { Endpoint } from "./webhook";

const EXPIRED = "the message has expired";
const UNVERIFIED = "the endpoint is not verified";

/** Sends what the lease holds, as far as it may be sent: until nothing is left, or the run is stopped. */
export async function sendAll(run: Run): Promise<void> {
  const endpoint = await openEndpoint(run);
  if (endpoint === undefined) return;
  await claimAll(run);
  const flights = new Set<Promise<void>>();
  for (;;) {
    const waits: Promise<void>[] = [];
    while (flights.size < connectionsOf(run) && mayStart(run)) {
      giveBackExpired(run);
      const wait = waitForTurn(run);
      if (wait) waits.push(wait);
      if (wait) break;
      const { parcel, plan } = plans.takeParcel(run.plan, run.push.batchMaxMessages);
      if (parcel.length === 0) break;
      run.plan = plan;
      noteBegun(run);
      const flight = carry(run, endpoint, parcel).finally(() => {
        flights.delete(flight);
        run.underWay = flights.size;
      });
      flights.add(flight);
      run.underWay = flights.size;
    }
    // With no slot free it waits until it is given one.
    const isShort = run.slots && flights.size >= connectionsOf(run) && run.plan.pending.length > 0;
    if (run.slots && isShort && mayStart(run)) waits.push(run.slots.changed.promise);
    if (flights.size + waits.length === 0) return;
    await Promise.race([...flights, ...waits]);
  }
}

/** Requests that may be under way at once. */
function connectionsOf({ sending: { connections }, slots, deps }: Run): number {
  return slots ? Math.min(connections, slotsAt(slots, deps.runtime.now())) : connections;
}

/** No request starts after the dispatch's time, or once the lease may be another's. What is settled, nobody else sends. */
function mayStart({ stopped, settled, deps, startedAt, leaseEndsAt }: Run): boolean {
  if (settled) return stopped === undefined;
  const now = deps.runtime.now();
  return stopped === undefined && now < startedAt + limits.dispatchMs && now < leaseEndsAt;
}

/** An endpoint, and what opens it. */
type OpenEndpoint = Endpoint & Pick<Credentials, "tokens">;

/**
 * Settings that cannot work fail every delivery, with the reason in its note for the operator to see. Secrets that cannot
 * be opened are no fault of the endpoint's: everything waits, un-attempted, until the operator has set the right key.
 */
async function openEndpoint(run: Run): Promise<OpenEndpoint | undefined> {
  const { call, deps } = run;
  if (isUnverified(run.push)) {
    run.stopped ??= UNVERIFIED;
    giveBack(run, run.plan.pending, 0, UNVERIFIED);
    return undefined;
  }
  const refusal = checkEndpointUrl(run.push.url, deps);
  if (refusal) return failAll(run, refusal.detail);
  const opened = await openCredentials(deps, deps.secretsKeys, call);
  if (!("unusable" in opened)) {
    const { topic, subscription, partition } = call;
    const minRetryMs = call.settings.retry.minDelayMs;
    return { origin: { topic, subscription, partition }, minRetryMs, ...opened };
  }
  if (opened.unusable === "settings") return failAll(run, opened.reason);
  run.stopped ??= opened.reason;
  giveBack(run, run.plan.pending, limits.sealedAwayMs, opened.reason);
  return undefined;
}

function failAll(run: Run, error: string): undefined {
  const { deps } = run;
  const { parcel, plan } = plans.takeParcel(run.plan, run.plan.pending.length);
  advance(
    run,
    plans.settleParcel(plan, parcel, {
      delivered: false,
      note: { at: deps.runtime.now(), error },
      gone: false,
    }),
  );
  return undefined;
}

/** Under effectively-once only what the ledger grants is left to be sent. */
async function claimAll(run: Run): Promise<void> {
  const { claims, deps } = run;
  if (claims === undefined) return;
  const items = run.plan.pending;
  const topicRetentionMs = await deps.topicRetentionMs().catch(() => undefined);
  const retentionMs = claimRetentionMs(run.call.settings, topicRetentionMs);
  const answers = await claims.claim(items, retentionMs).catch(() => undefined);
  if (answers === undefined) return giveBack(run, items, limits.ledgerAwayMs, "the ledger is away");
  for (const [index, item] of items.entries()) {
    const answer = answers[index];
    if (answer?.state === "claimed" || !run.plan.pending.includes(item)) continue;
    if (answer?.state === "completed") {
      // Only a row that was read as completed settles a delivery unsent.
      advance(run, plans.skipDone(run.plan, item));
    } else {
      const waitMs =
        answer?.state === "in-progress" ? answer.leaseUntil - deps.runtime.now() : limits.ledgerAwayMs;
      giveBack(run, [item], Math.max(waitMs, 0), "another dispatch is processing it");
    }
  }
}

async function carry(run: Run, endpoint: OpenEndpoint, parcel: readonly Item[]): Promise<void> {
  const { claims, deps } = run;
  const held = claims === undefined || (await claims.hold(parcel).catch(() => undefined));
  if (!held) {
    if (held === undefined) run.stopped ??= "the ledger is away";
    return giveBack(run, parcel, limits.ledgerAwayMs, "its claim in the ledger could not be held");
  }
  // The ledger took its time: the parcel goes back, and what of it has not expired is handed out again.
  const isLate = claims !== undefined && expiredAmong(run, parcel).length > 0;
  if (isLate) return giveBack(run, parcel, limits.expiredAgainMs, EXPIRED);
  const answer = await sendAuthorized(deps, endpoint, endpoint.tokens, parcel, claims?.claimsOf(parcel));
  if ("unsent" in answer) {
    run.stopped ??= answer.reason;
    return giveBack(run, [...parcel, ...run.plan.pending], answer.waitMs, answer.reason);
  }
  noteSigns(run, parcel, answer);
  // Before the delivery is settled, and before its claim: a crash between them has the message, and its reply, come again.
  const kept = repliesTo(answer) ? await keepReply(run, parcel, answer) : answer;
  // Before the outcomes, which give back what is behind a failure in its lane: acknowledged, it settles unsent then.
  const acknowledged = parcel.filter((item) => plans.isAcknowledged(item, kept));
  if (kept.delivered && kept.handOver) claims?.handOver(acknowledged, kept.handOver.leaseMs);
  else claims?.complete(acknowledged);
  advance(run, plans.settleParcel(run.plan, parcel, kept));
  if (kept.delivered || !kept.gone || run.gone) return;
  run.gone = true;
  run.stopped ??= "the endpoint is gone";
  deps.endpointGone();
}

/** What the answer tells about the endpoint: one that fails again and again, or asks for a pause, is sent no more. */
function noteSigns(run: Run, [first]: readonly Item[], answer: WebhookAnswer): void {
  const { deps, sending, settled } = run;
  const of = { offset: first?.offset ?? 0, delivered: answer.delivered };
  run.signs = noteRequest(run.signs, { ...of, ...endOf(answer) }, deps.runtime.now());
  // What is settled is sent once, whatever the endpoint answers.
  if (settled) return;
  if (run.signs.pausedUntil !== undefined) run.stopped ??= "the endpoint asked for a pause";
  if (run.signs.failing >= sending.stopAfter) run.stopped ??= "the endpoint fails";
}

function endOf(answer: WebhookAnswer) {
  if (answer.delivered) return { status: answer.status };
  const { note, retryAfterMs } = answer;
  return { ...note, ...(retryAfterMs !== undefined && { retryAfterMs }) };
}

/** What has expired is not sent. It goes back to its subscription, which says what becomes of it. */
function giveBackExpired(run: Run): void {
  const expired = expiredAmong(run, run.plan.pending);
  if (expired.length > 0) giveBack(run, expired, limits.expiredAgainMs, EXPIRED);
}

function expiredAmong({ deps }: Run, items: readonly Item[]): readonly Item[] {
  const now = deps.runtime.now();
  return items.filter(({ message: { expiresAt } }) => expiresAt !== undefined && expiresAt <= now);
}
