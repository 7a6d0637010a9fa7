// A program of its own, run as a process that can be killed with -9. It speaks to its parent in lines of JSON.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

export type Child = Readonly<{
  pid: number;
  kill9(): void;
  /** Asks it to end. */
  stop(): void;
  /** Resolves when it is gone, with its exit code: null when it was killed. */
  ended: Promise<number | null>;
}>;

/** Starts `script` (a path) under this Node; `onLine` sees each line that it writes. */
export function startChild<Line>(
  script: string,
  {
    args = [],
    env = {},
    onLine,
  }: { args?: readonly string[]; env?: Record<string, string>; onLine: (line: Line) => void },
): Child {
  const child = spawn(process.execPath, [script, ...args], {
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const pid = child.pid;
  if (pid === undefined) throw new Error(`${script} could not be started`);
  const killWithParent = () => child.kill("SIGKILL");
  process.once("exit", killWithParent);
  createInterface({ input: child.stdout }).on("line", (text) => onLine(JSON.parse(text) as Line));
  const ended = new Promise<number | null>((resolve) =>
    child.once("close", (code) => {
      process.off("exit", killWithParent);
      resolve(code);
    }),
  );
  return { pid, ended, kill9: () => child.kill("SIGKILL"), stop: () => child.kill("SIGTERM") };
}
