// Keeps a consumer process running: one that stops dead at a step is killed there with -9 and started again,
// with the next step of the plan, until the plan is done.

import { join } from "node:path";
import { type Child, startChild } from "../../test/support/child.ts";
import type { Line } from "./consumer.ts";
import type { Stage } from "./stage.ts";

export type Supervised = Readonly<{
  name: string;
  /** The steps it was killed at. */
  kills: readonly string[];
  /** Resolves when it is about to pull for the first time. */
  ready: Promise<void>;
}>;

export type Plan = Readonly<{
  name: string;
  script: string;
  /** The path of what it consumes. */
  subscription: string;
  env?: Record<string, string>;
  /** Where to kill it, life by life. */
  killAt?: readonly string[];
  /** false: a death is the end of it. */
  revive?: boolean;
  onLine?: (line: Line) => void;
}>;

/** Starts the consumer that `plan` describes; it ends with the scenario. */
export function supervise(stage: Stage, plan: Plan): Supervised {
  const { name, killAt = [], revive = true } = plan;
  const kills: string[] = [];
  let ending = false;
  let child: Child;
  const { promise: ready, resolve: nowReady } = Promise.withResolvers<void>();

  const live = () => {
    child = startChild<Line>(join(import.meta.dirname, plan.script), {
      env: environment(stage, plan, killAt[kills.length] ?? ""),
      onLine: (line) => {
        if ("ready" in line) nowReady();
        if ("held" in line) kill(line.held, line.id);
        plan.onLine?.(line);
      },
    });
    child.ended.then((exitCode) => {
      if (ending) return;
      if (exitCode !== null) stage.say("crashed", `${name} ended by itself, with ${exitCode}`);
      if (revive) live();
    });
  };
  const kill = (step: string, id: string) => {
    kills.push(step);
    stage.say("killed -9", `${name} (process ${child.pid}), ${step} ${id}`);
    child.kill9();
  };
  live();
  stage.atEnd(() => {
    ending = true;
    child.stop();
    return child.ended;
  });
  return { name, kills, ready };
}

function environment({ broker }: Stage, { subscription, env }: Plan, holdAt: string) {
  return {
    BROKER_URL: broker.url,
    BROKER_TOKEN: broker.token,
    SUBSCRIPTION: subscription,
    HOLD_AT: holdAt,
    ...env,
  };
}
