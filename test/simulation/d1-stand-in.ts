// A D1 database over node:sqlite: each call crosses the network, a batch is one transaction, and the database may be
// away for a while. Its tables come from the project's own migrations.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync, type SQLInputValue, type StatementSync } from "node:sqlite";
import type { Owner } from "./agenda";
import type { Counts } from "./coverage";
import type { Network, Remote, Reply } from "./network";

type Asked = Readonly<{ sql: string; values: readonly unknown[] }>;
type Row = Record<string, SQLInputValue>;
type Answered = { results: Row[]; success: true; meta: Readonly<Record<string, number>> };

export class D1StandIn {
  /** While it is away every call fails. */
  isAway = false;
  readonly remote: Remote;
  private readonly db = new DatabaseSync(":memory:");
  private readonly prepared = new Map<string, StatementSync>();

  constructor(
    name: "catalog" | "ledger",
    migrationsDir: string,
    private readonly network: Network,
    private readonly counts: Counts,
  ) {
    this.db.exec(migrationsOf(join(migrationsDir, name)));
    this.remote = {
      name: `d1-${name}`,
      receive: (_, args, reply) => this.receive(args[0] as Asked[], reply),
    };
  }

  /** The binding as `owner` has it. */
  bindingFor(owner: Owner): D1Database {
    const ask = async (asked: readonly Asked[]) =>
      (await this.network.call(owner, this.remote, "batch", [asked])) as Answered[];
    const binding = {
      prepare: (sql: string) => new Statement(ask, { sql, values: [] }),
      batch: (statements: readonly Statement[]) => ask(statements.map(({ asked }) => asked)),
    };
    return binding as unknown as D1Database;
  }

  /** Reads at once, past network and outages: for witnesses. */
  peek<R>(sql: string, ...values: SQLInputValue[]): R[] {
    return this.prepare(sql).all(...values) as R[];
  }

  close(): void {
    this.prepared.clear();
    this.db.close();
  }

  private receive(asked: readonly Asked[], reply: Reply): void {
    if (this.isAway) {
      this.counts.d1Faults += 1;
      reply.fail(new Error("D1_ERROR: Network connection lost."));
      return;
    }
    this.db.exec("BEGIN");
    try {
      const answers = asked.map((each) => this.run(each));
      this.db.exec("COMMIT");
      reply.answer(answers);
    } catch (fault) {
      this.db.exec("ROLLBACK");
      reply.fail(new Error(`D1_ERROR: ${String(fault)}`));
    }
  }

  private run({ sql, values }: Asked): Answered {
    const before = this.changes();
    const results = this.prepare(sql).all(...values.map(toBinding)) as Row[];
    return { results, success: true, meta: { changes: this.changes() - before } };
  }

  private changes(): number {
    const row = this.prepare("SELECT total_changes() AS n").get() as { n: number };
    return row.n;
  }

  private prepare(sql: string): StatementSync {
    const held = this.prepared.get(sql) ?? this.db.prepare(sql);
    this.prepared.set(sql, held);
    return held;
  }
}

class Statement {
  constructor(
    private readonly ask: (asked: readonly Asked[]) => Promise<Answered[]>,
    readonly asked: Asked,
  ) {}

  bind(...values: unknown[]): Statement {
    if (values.includes(undefined)) throw new TypeError("D1_TYPE_ERROR: undefined is no value");
    return new Statement(this.ask, { ...this.asked, values });
  }

  async all(): Promise<Answered> {
    const [answer] = await this.ask([this.asked]);
    if (!answer) throw new Error("D1 gave no answer");
    return answer;
  }

  run(): Promise<Answered> {
    return this.all();
  }

  async raw(): Promise<SQLInputValue[][]> {
    return (await this.all()).results.map((row) => Object.values(row));
  }

  async first(): Promise<Row | null> {
    return (await this.all()).results[0] ?? null;
  }
}

const migrations = new Map<string, string>();

function migrationsOf(dir: string): string {
  const held = migrations.get(dir);
  if (held !== undefined) return held;
  const files = readdirSync(dir).filter((name) => name.endsWith(".sql"));
  const sql = files
    .sort()
    .map((name) => readFileSync(join(dir, name), "utf8"))
    .join("\n");
  migrations.set(dir, sql);
  return sql;
}

function toBinding(value: unknown): SQLInputValue {
  if (typeof value === "boolean") return value ? 1 : 0;
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  return value as SQLInputValue;
}
