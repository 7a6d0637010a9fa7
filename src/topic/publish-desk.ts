// Takes in what is published: others are asked first what they know of it, and then, with nothing awaited any more, it is
// appended and announced. It works on what is in memory when each step begins, for that may be read afresh meanwhile.

import { ok, type Result } from "../errors";
import type { AppendCall, BatchAnswer } from "../topic-calls";
import type { Beside } from "./topic-log";
import { gone, type TopicMemory } from "./topic-memory";
import type { TopicParts } from "./topic-parts";

type Above = Omit<Beside, "movedTo">;

export class PublishDesk {
  constructor(private readonly memory: TopicMemory) {}

  /** Appends record batches of this generation, else is refused as `gone`. */
  async append(call: AppendCall): Promise<Result<readonly BatchAnswer[]>> {
    if (this.memory.loaded?.appends.isOver()) await this.memory.loaded.retention.askSettled();
    const above = await this.askAbove(call);
    if (!above.ok) return above;
    return this.memory.whenAlive((state) => this.take(state, call, above.value));
  }

  /** Takes over what was delayed where its keys left. Nobody is asked about their ids. */
  adopt({ batches }: Pick<AppendCall, "batches">): Result<readonly BatchAnswer[]> {
    return this.memory.whenAlive((state) => this.take(state, { batches }, {}));
  }

  /** What the partition that the keys came from has seen of the ids and the producers of a call. */
  private async askAbove({ batches }: AppendCall): Promise<Result<Above>> {
    const ids = batches.flatMap(({ clientIds }) => clientIds.map(({ id }) => id));
    const known = await this.memory.loaded?.lineage.askParent(ids);
    if (known && !known.ok) return known;
    const producers = await this.memory.loaded?.producers.above(batches);
    if (producers && !producers.ok) return producers;
    return ok({
      ...(known && { knownAbove: known.value }),
      ...(producers && { producersAbove: producers.value }),
    });
  }

  private take(state: TopicParts, call: AppendCall, above: Above): Result<readonly BatchAnswer[]> {
    const strayed = call.batches.find(({ generation }) => generation !== state.topic.generation);
    if (strayed) return gone();
    const appended = state.appends.append(call, above);
    if (!appended.ok) return appended;
    const { run, answers } = appended.value;
    if (run) this.memory.announce(state, run);
    else this.memory.arm();
    return ok(answers);
  }
}
