// A Cloudflare Queue: takes messages, hands them to its consumer in batches of any composition and order, again
// when they were not acked, sometimes again though they were, and gives them to its dead-letter Cloudflare Queue
// after too many retries.

import type { Agenda, Owner } from "./agenda";
import type { Chance } from "./chance";
import type { Counts } from "./coverage";
import type { Network, Remote } from "./network";
import type { Workers } from "./workers";

type Held = { readonly id: string; readonly body: Uint8Array; attempts: number; flying: boolean };
type Verdict = "ack" | Readonly<{ delaySeconds: number }>;
export type Consume = (owner: Owner, batch: MessageBatch) => Promise<void>;

export type QueueParts = Readonly<{
  agenda: Agenda;
  network: Network;
  chance: Chance;
  counts: Counts;
  workers: Workers;
}>;

const BATCH_MESSAGES = 10;

export class CloudflareQueue {
  readonly remote: Remote;
  private readonly held = new Set<Held>();
  private sent = 0;

  constructor(
    readonly name: string,
    private readonly consume: Consume,
    private readonly parts: QueueParts,
    /** After `retries` a message goes to `dead`. Without one it stays. */
    private readonly onDead?: Readonly<{ retries: number; dead: CloudflareQueue }>,
  ) {
    this.remote = {
      name,
      receive: (_, args, reply) => {
        for (const body of args[0] as Uint8Array[]) this.put(body);
        reply.answer({ metadata: {} });
      },
    };
  }

  get size(): number {
    return this.held.size;
  }

  bindingFor(owner: Owner): Queue<ArrayBuffer | Uint8Array> {
    const send = (bodies: readonly unknown[]) =>
      this.parts.network.call(owner, this.remote, "send", [bodies]);
    const binding = {
      send: (body: Uint8Array) => send([body]),
      sendBatch: (messages: readonly { body: Uint8Array }[]) => send(messages.map(({ body }) => body)),
    };
    return binding as unknown as Queue<ArrayBuffer | Uint8Array>;
  }

  private put(body: Uint8Array): void {
    this.offer({ id: `${this.name}-${++this.sent}`, body, attempts: 1, flying: false }, 0);
  }

  /** Holds a message, to be delivered after a while, with whatever else is there then. */
  private offer(message: Held, delayMs: number): void {
    const { chance, agenda } = this.parts;
    this.held.add(message);
    message.flying = true;
    const wait = delayMs + (chance.happens(0.1) ? chance.below(3_000) : chance.below(20));
    agenda.after(wait, undefined, `${this.name} ready`, () => {
      message.flying = false;
      if (this.held.has(message)) agenda.after(chance.below(10), undefined, this.name, () => this.deliver());
    });
  }

  private deliver(): void {
    const { chance, workers } = this.parts;
    const ready = [...this.held].filter(({ flying }) => !flying);
    const picked: Held[] = [];
    while (picked.length < BATCH_MESSAGES && ready.length > 0) {
      picked.push(...ready.splice(chance.below(ready.length), 1));
    }
    if (picked.length === 0) return;
    for (const message of picked) message.flying = true;
    const verdicts = new Map<Held, Verdict>();
    const batch = this.batchOf(picked, verdicts);
    const end = (isWhole: boolean) => {
      for (const message of picked) this.conclude(message, isWhole ? verdicts.get(message) : undefined);
    };
    workers.start(this.name, (owner) => this.consume(owner, batch), {
      answer: () => end(true),
      fail: () => end(false),
    });
  }

  private batchOf(picked: readonly Held[], verdicts: Map<Held, Verdict>): MessageBatch {
    const messages = picked.map((held) => ({
      id: held.id,
      body: held.body.slice().buffer,
      attempts: held.attempts,
      timestamp: new Date(this.parts.agenda.now),
      ack: () => void verdicts.set(held, "ack"),
      retry: ({ delaySeconds }: { delaySeconds: number }) => void verdicts.set(held, { delaySeconds }),
    }));
    return { queue: this.name, messages } as unknown as MessageBatch;
  }

  private conclude(message: Held, verdict: Verdict | undefined): void {
    const { chance, counts, network } = this.parts;
    const redelivers = network.faults.on && chance.happens(0.05);
    if (verdict === "ack" && !this.onDead) counts.stranded += 1;
    if (verdict === "ack" && !redelivers) {
      this.held.delete(message);
      return;
    }
    if (verdict === "ack") counts.queueRedeliveries += 1;
    else counts.queueRetries += 1;
    message.attempts += 1;
    if (this.onDead && message.attempts > this.onDead.retries) {
      this.held.delete(message);
      counts.queueDeadLetters += 1;
      this.onDead.dead.put(message.body);
    } else {
      this.offer(message, verdict === undefined || verdict === "ack" ? 0 : verdict.delaySeconds * 1_000);
    }
  }
}
