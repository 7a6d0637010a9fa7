// What the contract's tests see of a live reader: the events of a stream, and the frames of a socket, one by one.

export type LiveEvent = Readonly<{ event: string; id: string; data: Readonly<Record<string, unknown>> }>;
export type LiveFrame = Readonly<{ type: string } & Record<string, unknown>>;

/** Longer than anything ever takes to arrive, and less than a test may. */
const ARRIVES_MS = 10_000;

/** Reads a stream of server-sent events. */
export function eventReader(response: Response) {
  const reader = response.body?.getReader();
  const decoder = new TextDecoder();
  let text = "";
  /** The next event; comments and retry times are passed. */
  const next = async (): Promise<LiveEvent> => {
    for (;;) {
      const end = text.indexOf("\n\n");
      if (end >= 0) {
        const block = text.slice(0, end);
        text = text.slice(end + 2);
        const fields = new Map(
          block.split("\n").map((line) => [line.slice(0, line.indexOf(":")), value(line)]),
        );
        if (!fields.has("data")) continue;
        const data = JSON.parse(fields.get("data") ?? "");
        return { event: fields.get("event") ?? "", id: fields.get("id") ?? "", data };
      }
      const chunk = await reader?.read();
      if (!chunk || chunk.done) throw new Error("the stream ended");
      text += decoder.decode(chunk.value, { stream: true });
    }
  };
  return {
    response,
    next,
    take: async (count: number) => {
      const taken: LiveEvent[] = [];
      while (taken.length < count) taken.push(await next());
      return taken;
    },
    leave: () => reader?.cancel(),
  };
}

function value(line: string): string {
  return line.slice(line.indexOf(":") + 1).replace(/^ /, "");
}

/** Reads a socket. */
export function frameReader(socket: WebSocket) {
  const frames: LiveFrame[] = [];
  let wake: (() => void) | undefined;
  const closed = new Promise<Readonly<{ code: number }>>((resolve) => {
    socket.addEventListener("close", ({ code }) => resolve({ code }));
  });
  socket.addEventListener("message", ({ data }) => {
    frames.push(data === "pong" ? { type: "pong" } : JSON.parse(String(data)));
    wake?.();
  });
  const say = (frame: object | string) =>
    socket.send(typeof frame === "string" || frame instanceof Uint8Array ? frame : JSON.stringify(frame));
  /** The first frame of a type, taken out from among the others. */
  const next = async (type: string): Promise<LiveFrame> => {
    const timer = setTimeout(() => wake?.(), ARRIVES_MS);
    const until = Date.now() + ARRIVES_MS;
    for (;;) {
      const at = frames.findIndex((frame) => frame.type === type);
      if (at >= 0) {
        clearTimeout(timer);
        return frames.splice(at, 1)[0] as LiveFrame;
      }
      if (Date.now() >= until) throw new Error(`no ${type}; there is ${JSON.stringify(frames)}`);
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
  return {
    say,
    next,
    closed,
    close: () => socket.close(1000, "done"),
    /** The next `count` messages, over as many frames as they take. */
    messages: async <M>(count: number): Promise<readonly M[]> => {
      const all: M[] = [];
      while (all.length < count) all.push(...((await next("messages")).messages as M[]));
      return all;
    },
  };
}
