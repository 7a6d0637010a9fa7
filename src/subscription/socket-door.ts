// Looks again whether the consumer on a socket would still be let in: when it speaks or is to be sent something, and some time
// has passed since. A socket of which nobody hears is not looked at, and keeps nothing awake.

import type { AdmissionCalls } from "../admission-calls";
import type { Runtime } from "../runtime";
import { closings } from "../socket-calls";
import { barred, checked, type Socket, standingOf } from "./socket";

export type DoorParts = Readonly<{ keeper: AdmissionCalls; runtime: () => Runtime }>;

export class SocketDoor {
  /** By the socket's tag. Who waits for the same answer goes on in the order in which it came. */
  private readonly asking = new Map<string, Promise<void>>();

  constructor(private readonly parts: DoorParts) {}

  /** Whether a socket may be heard and served now. One that may not any more is closed. */
  async admits(socket: Socket): Promise<boolean> {
    const { tag } = socket.state();
    if (this.standing(socket) === "unchecked") {
      const asked = this.asking.get(tag) ?? this.ask(socket).finally(() => this.asking.delete(tag));
      this.asking.set(tag, asked);
      await asked;
    }
    if (this.standing(socket) !== "barred") return true;
    socket.close(closings.unauthenticated, "the token has ended");
    return false;
  }

  private standing(socket: Socket) {
    return standingOf(socket.state(), this.parts.runtime().now());
  }

  private async ask(socket: Socket): Promise<void> {
    const { keeper, runtime } = this.parts;
    const { admission } = socket.state();
    if (!admission) return;
    // While the catalog is away nobody can take a token away either: it goes on as it was, and is asked about later.
    const answer = await keeper.admitted(admission).catch(() => undefined);
    const now = runtime().now();
    const isBarred = answer?.ok === false && answer.error.code === "unauthenticated";
    const known = answer?.ok ? answer.value : admission;
    socket.keep(isBarred ? barred(socket.state()) : checked(socket.state(), known, now));
  }
}
