// What the objects need of `cloudflare:workers` when they run under Node.
export class DurableObject<E = unknown> {
  constructor(
    protected readonly ctx: unknown,
    protected readonly env: E,
  ) {}
}

export class WorkerEntrypoint<E = unknown> extends DurableObject<E> {}
