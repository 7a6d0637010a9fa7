// The sockets of a subscription's object, through the platform's hibernation: while nobody says anything the object
// leaves memory and costs nothing, and the sockets stay. What is known of one is attached to it.

import { limits } from "../limits";
import type { Socket, SocketState } from "./socket";

/** The sockets that a hibernating object keeps. */
export type SocketHost = Pick<
  DurableObjectState,
  "acceptWebSocket" | "getWebSockets" | "setWebSocketAutoResponse"
>;

export class SocketStore {
  constructor(private readonly host: SocketHost) {}

  get isFull(): boolean {
    return this.host.getWebSockets().length >= limits.socketsPerPartition;
  }

  all(): readonly Socket[] {
    return this.host.getWebSockets().map(socketOf);
  }

  /** Takes on a new socket. Answers the end that its consumer gets. */
  accept(state: SocketState, opening: object): WebSocket {
    const { 0: theirs, 1: ours } = new WebSocketPair();
    // Its state comes first: from here on anybody may look at it.
    ours.serializeAttachment(state);
    this.host.acceptWebSocket(ours);
    this.host.setWebSocketAutoResponse(new WebSocketRequestResponsePair("ping", "pong"));
    ours.send(JSON.stringify(opening));
    return theirs;
  }

  closeAll(code: number, reason: string): void {
    for (const socket of this.all()) socket.close(code, reason);
  }
}

export function socketOf(socket: WebSocket): Socket {
  return {
    state: () => socket.deserializeAttachment() as SocketState,
    keep: (state) => socket.serializeAttachment(state),
    send: (frame) => socket.send(JSON.stringify(frame)),
    close: (code, reason) => {
      try {
        socket.close(code, reason);
      } catch {
        // It is closed already.
      }
    },
    isOpen: () => socket.readyState === WebSocket.READY_STATE_OPEN,
  };
}
