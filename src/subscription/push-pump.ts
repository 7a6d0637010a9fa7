// Pushes, and forwards: leases what is there and hands it to the dispatcher, a few dispatches at once. The dispatcher is called
// outside the alarm and reports by itself: a slow endpoint never holds the object's timers.

import type { Begin, DispatchCalls, Sending } from "../dispatch-calls";
import { isUnverified } from "../endpoint-verification";
import { limits } from "../limits";
import type { Runtime } from "../runtime";
import type { SubscriptionSettings } from "../settings";
import { isReceiverLease, type LeaseAnswer } from "../subscription-calls";
import type { Allowance } from "./allowance";
import type { Backlog } from "./backlog";
import type { EndpointDesk } from "./endpoint-desk";
import { countNext } from "./filtering";
import type { LeaseDesk } from "./lease-desk";
import type { RecordBuffer } from "./record-buffer";
import { Rounds } from "./rounds";
import type { SubscriptionRow } from "./subscription-store";

export type PumpParts = Readonly<{
  backlog: Backlog;
  buffer: RecordBuffer;
  desk: LeaseDesk;
  endpoint: EndpointDesk;
  dispatcher: DispatchCalls;
  runtime: () => Runtime;
  row: () => SubscriptionRow;
  /** Dispatches under way, those of an epoch before among them. */
  underway: { count: number };
  isLive: () => boolean;
  /** Lets work go on after the call that started it was answered. */
  waitUntil: (work: Promise<void>) => void;
  /** A dispatch has begun: there may be no room for another, and the alarm is due for something else. */
  began: () => void;
  /** A dispatch has ended: there is room for another. */
  ended: () => void;
}>;

export class PushPump {
  private readonly rounds: Rounds;

  constructor(private readonly parts: PumpParts) {
    const next = async () => this.hasRoom && (await this.dispatchOne());
    this.rounds = new Rounds({ next, isLive: parts.isLive });
  }

  get isActive(): boolean {
    const { settings } = this.parts.row();
    return settings.type !== "pull" && !settings.paused && !isUnverified(settings.push);
  }

  get hasRoom(): boolean {
    return this.allowance().send;
  }

  /** Until when nothing may be sent; undefined when something may, or will as soon as a dispatch has ended. */
  heldUntil(): number | undefined {
    const allowed = this.allowance();
    return allowed.send || allowed.until === Number.POSITIVE_INFINITY ? undefined : allowed.until;
  }

  /** What one more dispatch may carry. */
  private allowance(): Allowance {
    const { underway, row, endpoint, runtime } = this.parts;
    const now = runtime().now();
    const allowed = endpoint.allowance(row(), now);
    if (!allowed.send) return allowed;
    // At-most-once sends one dispatch after another: nothing else keeps a lane in order once it is settled.
    const isInTurn = row().settings.guarantee === "at-most-once";
    const most = isInTurn ? 1 : allowed.dispatches;
    if (underway.count >= most) return { send: false, until: Number.POSITIVE_INFINITY };
    const quietAt = allowed.alone ? this.quietAt() : 0;
    return quietAt > now ? { send: false, until: quietAt } : allowed;
  }

  /** When every dispatch that this object no longer waits for, one of before a restart, has certainly ended. */
  private quietAt(): number {
    const { ackDeadlineMs } = this.parts.row().settings;
    const dispatches = [...this.parts.backlog.leases].filter(({ id }) => !isReceiverLease(id));
    const ends = dispatches.map((lease) => lease.deadlineAt - ackDeadlineMs + limits.quietDispatchMs);
    return ends.reduce((last, at) => Math.max(last, at), 0);
  }

  /** Hands out what can be pushed now. */
  async pump(): Promise<void> {
    if (this.isActive) await this.rounds.go();
  }

  private async dispatchOne(): Promise<boolean> {
    const { push } = this.parts.row().settings;
    // A batch is gathered from what the filter lets through.
    if (push && push.batchMaxMessages > 1) await this.parts.desk.sift();
    if (!this.parts.isLive() || !this.isActive || this.gathersUntil() !== undefined) return false;
    const allowed = this.allowance();
    if (!allowed.send) return false;
    const leaseId = this.parts.runtime().newId();
    const leasedFor = this.parts.row();
    const { settings } = leasedFor;
    const { ackDeadlineMs } = settings;
    const max = Math.min(
      dispatchMessages(settings),
      allowed.requests * (settings.push?.batchMaxMessages ?? limits.dispatchMessages),
    );
    const logFirst = this.parts.endpoint.probesLog;
    const wanted = { leaseId, max, maxBytes: limits.dispatchBytes, ackDeadlineMs, logFirst };
    const lease = await this.parts.desk.lease(wanted, false);
    if (lease.deliveries.length === 0) return false;
    this.parts.underway.count += 1;
    this.parts.began();
    this.parts.endpoint.began(allowed.sending.pace, allowed.requests, this.parts.runtime().now());
    this.parts.waitUntil(this.dispatch(lease, this.sharing(allowed.sending), leasedFor));
    return true;
  }

  /** Whoever shares with others says whether it will want more. Only one dispatch has slots of its own. */
  private sharing({ shared, ...sending }: Sending): Sending {
    if (shared === undefined) return sending;
    const { knownHead, counters, ready } = this.parts.backlog;
    const next = ready.peek();
    const isDue = next !== undefined && next.at <= this.parts.runtime().now();
    const isBehind = isDue || knownHead > counters.nextOffset;
    const isFirst = this.parts.underway.count === 1;
    const slots = shared.slots && { slots: { ...shared.slots, ...(!isFirst && { own: 0 }) } };
    return { ...sending, shared: { ...shared, ...slots, isBehind } };
  }

  private async dispatch(lease: LeaseAnswer, sending: Sending, leasedFor: SubscriptionRow): Promise<void> {
    const present = this.parts.row();
    const { topic, subscription, generation, partition } = present;
    // What was leased for one endpoint is not sent to another that nobody has verified.
    const { settings, version } = isUnverified(present.settings.push) ? leasedFor : present;
    try {
      const { replay } = this.parts.backlog.counters;
      const of = { topic, subscription, generation, partition, replay };
      const call = { ...of, settings, version, lease, sending };
      await this.parts.dispatcher.deliver(call, beginOnce());
    } catch (fault) {
      // How far it came is unknown. The ack deadline ends the lease.
      console.error(JSON.stringify({ at: "subscription.dispatch", subscription, fault: String(fault) }));
    } finally {
      this.parts.underway.count -= 1;
      this.parts.ended();
    }
  }

  /** While a batch is smaller than asked for, until when to wait for more. */
  gathersUntil(): number | undefined {
    const { backlog, buffer } = this.parts;
    const { push } = this.parts.row().settings;
    const { nextOffset } = backlog.counters;
    const first = buffer.get(nextOffset);
    if (!push || push.batchMaxMessages <= 1 || !first) return undefined;
    const until = first.storedAt + push.batchMaxWaitMs;
    const isShort = countNext(backlog, buffer, push.batchMaxMessages) < push.batchMaxMessages;
    return isShort && until > this.parts.runtime().now() ? until : undefined;
  }
}

/** Lets one dispatch of a call begin, and no other: asked in whatever order, it is asked here. */
function beginOnce(): Begin {
  let begun = false;
  return async () => {
    const isFirst = !begun;
    begun = true;
    return isFirst;
  };
}

/**
 * How many deliveries one dispatch carries. Under effectively-once, as many as one call to the ledger claims. Under
 * at-most-once, no more than can be sent in a dispatch's time however slow the endpoint is: none can be given back.
 */
export function dispatchMessages({ guarantee, push, forward }: SubscriptionSettings): number {
  if (forward) return limits.dispatchMessages;
  if (guarantee === "effectively-once") return limits.claimsPerCall;
  if (guarantee === "at-least-once" || !push) return limits.dispatchMessages;
  const rounds = Math.max(1, Math.floor(limits.dispatchMs / push.timeoutMs));
  const sent = rounds * limits.dispatchConnections * push.batchMaxMessages;
  return Math.min(limits.dispatchMessages, sent);
}
