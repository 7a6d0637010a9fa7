// Serves the consumers that listen on sockets: leases as much as their credit allows and sends it, a frame at a time,
// each in its turn. It holds nothing: what it needs to know is attached to the sockets, and a hibernated object wakes
// to the same ones.

import { limits } from "../limits";
import { showLease } from "../pulled-message";
import type { Runtime } from "../runtime";
import { closings } from "../socket-calls";
import type { LeaseAnswer } from "../subscription-calls";
import type { LeaseDesk } from "./lease-desk";
import { Rounds } from "./rounds";
import type { SettleDesk } from "./settle-desk";
import { leaseIdOf, roomOf, type Socket, sent } from "./socket";
import type { SocketDoor } from "./socket-door";
import type { SubscriptionRow } from "./subscription-store";

export type SocketPumpParts = Readonly<{
  desk: LeaseDesk;
  settles: SettleDesk;
  sockets: () => readonly Socket[];
  door: SocketDoor;
  runtime: () => Runtime;
  row: () => SubscriptionRow;
  isLive: () => boolean;
}>;

export class SocketPump {
  private readonly rounds: Rounds;
  /** Memory that is new does not know how far the log reaches: the first look asks. From then on notifies tell. */
  private asks = true;

  constructor(private readonly parts: SocketPumpParts) {
    this.rounds = new Rounds({ next: () => this.serveEach(), isLive: parts.isLive });
  }

  /** Whether anybody waits for messages. */
  get isActive(): boolean {
    const { settings } = this.parts.row();
    if (settings.type !== "pull" || settings.paused) return false;
    return this.parts.sockets().some((socket) => roomOf(socket.state()) > 0);
  }

  /** Sends what can be sent now. */
  async pump(): Promise<void> {
    if (this.isActive) await this.rounds.go();
  }

  /** One frame for each. Answers whether there was any. */
  private async serveEach(): Promise<boolean> {
    let any = false;
    for (const socket of this.parts.sockets()) {
      if (!this.parts.isLive() || !this.isActive) return false;
      any = (await this.serve(socket)) || any;
    }
    return any;
  }

  private async serve(socket: Socket): Promise<boolean> {
    const { desk, door, row, runtime } = this.parts;
    if (roomOf(socket.state()) === 0 || !socket.isOpen()) return false;
    // What is leased to somebody who is not to have it would have to be taken back.
    if (!(await door.admits(socket)) || !this.parts.isLive()) return false;
    const state = socket.state();
    const max = roomOf(state);
    if (max === 0 || !socket.isOpen()) return false;
    if (state.until <= runtime().now()) {
      socket.close(closings.reopen, "open another");
      return false;
    }
    const { ackDeadlineMs = row().settings.ackDeadlineMs } = state;
    const leaseId = leaseIdOf(state, runtime().newId());
    const wanted = { leaseId, max, maxBytes: limits.socketFrameBytes, ackDeadlineMs };
    const { asks } = this;
    this.asks = false;
    const lease = await desk.lease(wanted, asks);
    if (lease.deliveries.length === 0) return false;
    this.send(socket, lease);
    return true;
  }

  /** What cannot be sent any more goes back, no attempt counted; under at-most-once it was handed out, and is lost. */
  private send(socket: Socket, lease: LeaseAnswer): void {
    const { deliveries, records, leaseId, settled } = lease;
    try {
      if (!socket.isOpen()) throw new Error("the socket was closed");
      socket.send({ type: "messages", messages: showLease(this.parts.row().partition, lease) });
    } catch {
      if (!settled) this.parts.settles.report({ leaseId, outcomes: [], done: true });
      return;
    }
    // As it is now: while the lease was cut, its consumer may have granted more.
    socket.keep(sent(socket.state(), deliveries.length, records.byteLength));
  }
}
