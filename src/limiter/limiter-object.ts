// A limiter: a Durable Object that counts for one token, or for one life of a topic, what was handed out of its limits. It
// knows no settings: whoever asks says the policy. It comes to life with the first block, and goes by itself some time
// after its last window, so nobody has to delete it.

import { DurableObject } from "cloudflare:workers";
import type { Env } from "../env";
import { ok, type Result } from "../errors";
import type { Policy } from "../limit-policy";
import type { Block, Left, LimiterCalls, TakeCall } from "../limiter-calls";
import { limits } from "../limits";
import { type Runtime, systemRuntime } from "../runtime";
import { idle, type LimiterState, look, overAt, take } from "./limiter";
import { LimiterStore } from "./limiter-store";

export class LimiterObject extends DurableObject<Env> implements LimiterCalls {
  runtime: Runtime = systemRuntime;
  private readonly store: LimiterStore;
  private state: LimiterState;
  private armedAt: number | undefined;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.store = new LimiterStore(ctx.storage);
    this.state = this.store.load() ?? idle;
    void ctx.blockConcurrencyWhile(async () => {
      this.armedAt = (await ctx.storage.getAlarm()) ?? undefined;
    });
  }

  /** The answer leaves only when what it hands out is on disk: that is the platform's output gate. */
  async take(call: TakeCall): Promise<Result<Block>> {
    const { state, block, mustSave } = take(this.state, call, this.runtime.now());
    // A block that could not be written down is not handed out, and not remembered as answered either.
    if (mustSave) this.store.save(state);
    this.state = state;
    if (mustSave) this.arm();
    return ok(block);
  }

  async look({ policies }: { policies: readonly Policy[] }): Promise<Result<readonly Left[]>> {
    return ok(look(this.state, policies, this.runtime.now()));
  }

  override async alarm(): Promise<void> {
    this.armedAt = undefined;
    if (this.runtime.now() < goneAt(this.state)) return this.arm();
    this.state = idle;
    await this.store.clear();
  }

  /** An alarm that comes too soon looks again: windows that begin meanwhile need not move it. */
  private arm(): void {
    if (this.armedAt !== undefined) return;
    this.armedAt = goneAt(this.state);
    void this.ctx.storage.setAlarm(this.armedAt);
  }
}

/** When what is counted here is no longer of use. */
function goneAt(state: LimiterState): number {
  return overAt(state) + limits.limiterKeptMs;
}
