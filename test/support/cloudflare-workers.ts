// What the objects and stores need of `cloudflare:workers` when they run under Node.
export class DurableObject<E = unknown> {
  constructor(
    protected readonly ctx: unknown,
    protected readonly env: E,
  ) {}
}

export class WorkerEntrypoint<E = unknown> extends DurableObject<E> {}

/** Work behind a request goes on by itself here; its fault is nobody's. */
export function waitUntil(work: Promise<unknown>): void {
  work.catch(() => undefined);
}
