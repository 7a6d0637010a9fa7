// Listens to consumers on sockets: opens one, does what a frame asks for, and when a socket has closed gives back what
// was leased to it, no attempt counted.

import type { AckId } from "../ack-id";
import { type BrokerError, ok, type Result, refuse } from "../errors";
import { limits } from "../limits";
import type { Runtime } from "../runtime";
import { closings, type Frame, readFrame, type SocketAsk } from "../socket-calls";
import type { LeaseRef, SettleStatus } from "../subscription-calls";
import type { Loaded } from "./loaded";
import { endOf, heard, isLeaseOf, openSocket, type Socket } from "./socket";
import type { SocketDoor } from "./socket-door";
import type { SocketStore } from "./socket-store";
import type { SubscriptionMemory } from "./subscription-memory";

/** A close frame without a code, and what it is answered with (RFC 6455, section 7.4). */
const NO_STATUS = 1005;
const NORMAL = 1000;

type Settling = Exclude<Frame, { type: "credit" }>;

export class SocketDesk {
  constructor(
    private readonly memory: SubscriptionMemory,
    private readonly sockets: SocketStore,
    private readonly door: SocketDoor,
    private readonly runtime: () => Runtime,
  ) {}

  /** Opens a socket. Answers the end that its consumer gets. */
  async open(ask: SocketAsk): Promise<Result<WebSocket>> {
    return this.memory.whenLive((state) => {
      if (state.row.settings.type !== "pull")
        return refuse("not-pull", "This subscription sends by itself: nothing is pulled from it.");
      if (this.sockets.isFull) {
        const detail = `A partition has at most ${limits.socketsPerPartition} sockets.`;
        return refuse("too-many-requests", detail, { limit: limits.socketsPerPartition });
      }
      const { now, newId } = this.runtime();
      const opened = openSocket(newId(), ask, now());
      const { partition } = state.row;
      const told = { partition, credit: ask.credit, until: endOf(opened) };
      const socket = this.sockets.accept(opened, { type: "open", ...told });
      this.memory.goOn(state);
      return ok(socket);
    });
  }

  /** Does what a consumer asks for, and answers it. */
  async hear(socket: Socket, data: string | ArrayBuffer): Promise<void> {
    if (!(await this.door.admits(socket))) return;
    if (typeof data !== "string") return socket.close(closings.notText, "frames are text");
    if (data.length > limits.socketFrameInBytes)
      return socket.close(closings.tooLarge, "the frame is too large");
    const frame = readFrame(data);
    if (!frame.ok) return this.complain(socket, frame.error);
    const { value } = frame;
    const granted = value.type === "credit" ? value.messages : 0;
    socket.keep(heard(socket.state(), granted));
    const done = await this.memory.whenLive(async (state) => {
      if (value.type !== "credit") this.answer(socket, value, settle(state, value, this.runtime().now()));
      this.memory.goOn(state);
      return ok(null);
    });
    if (!done.ok) socket.close(closings.gone, "the subscription is gone");
  }

  /** Answers a consumer that closes its socket. */
  async close(socket: Socket, code: number): Promise<void> {
    socket.close(code === NO_STATUS ? NORMAL : code, "");
    await this.closed(socket);
  }

  /** Gives back what was leased to a socket that has closed. */
  async closed(socket: Socket): Promise<void> {
    const state = socket.state();
    await this.memory.whenLive((loaded) => {
      const theirs = [...loaded.backlog.leases].filter(({ id }) => isLeaseOf(state, id));
      if (theirs.length > 0) loaded.settles.giveBack([...new Set(theirs.map(({ id }) => id))]);
      this.memory.goOn(loaded);
      return ok(null);
    });
  }

  /** After a change of settings, or deletion: nobody is left listening for what does not come. */
  dismiss(state: Loaded | undefined): void {
    if (state === undefined) this.sockets.closeAll(closings.gone, "the subscription is gone");
    else if (state.row.settings.type !== "pull")
      this.sockets.closeAll(closings.notPull, "the subscription pushes");
  }

  private answer(socket: Socket, { ackIds, ref }: Settling, statuses: readonly SettleStatus[]): void {
    const results = ackIds.map(({ ackId }, index) => ({ ackId, status: statuses[index] ?? "lease-lost" }));
    socket.send({ type: "results", ...(ref !== undefined && { ref }), results });
  }

  private complain(socket: Socket, { code, detail, field }: BrokerError): void {
    socket.send({ type: "error", code, detail, ...(field !== undefined && { field }) });
  }
}

/** Settles what is of this partition; of another nothing was leased here. */
function settle(state: Loaded, frame: Settling, now: number): readonly SettleStatus[] {
  const own = frame.ackIds.filter(({ partition }) => partition === state.row.partition);
  const statuses = settleOwn(state, frame, own, now);
  const found = new Map(own.map(({ ackId }, index) => [ackId, statuses[index] ?? "lease-lost"] as const));
  return frame.ackIds.map(({ ackId }) => found.get(ackId) ?? "lease-lost");
}

function settleOwn(
  { settles }: Loaded,
  frame: Settling,
  own: readonly AckId[],
  now: number,
): readonly SettleStatus[] {
  const refs: readonly LeaseRef[] = own.map(({ offset, leaseId }) => ({ offset, leaseId }));
  const settled = settleBy(settles, frame, refs, now);
  return settled.ok ? settled.value : [];
}

function settleBy(settles: Loaded["settles"], frame: Settling, refs: readonly LeaseRef[], now: number) {
  if (frame.type === "ack") return settles.ack(refs);
  if (frame.type === "extend") return settles.extend(refs, now + frame.ackDeadlineMs);
  const { type: _type, ackIds: _ackIds, ref: _ref, ...how } = frame;
  return settles.nack({ refs, ...how });
}
