// An object's storage over node:sqlite: the same engine, synchronous. It knows what is confirmed to be on disk: a
// crash may take it back to that point. One alarm belongs to it, written and taken back with the rest.

import { DatabaseSync, type SQLInputValue, type StatementSync } from "node:sqlite";

type Prepared = { statement: StatementSync; writes: boolean };

export class ObjectStorage {
  /** When the alarm is set for, written or confirmed. */
  alarmAt: number | undefined;
  confirmedAlarmAt: number | undefined;
  /** Whether something was written that is not confirmed. */
  dirty = false;
  /** Rises with every write. */
  writes = 0;
  private readonly db = new DatabaseSync(":memory:");
  private readonly prepared = new Map<string, Prepared>();
  private depth = 0;

  constructor() {
    this.db.exec("BEGIN");
  }

  readonly sql = {
    databaseSize: 0,
    exec: (query: string, ...bindings: (SQLInputValue | ArrayBuffer | boolean)[]) => {
      const { statement, writes } = this.prepare(query);
      if (writes) this.noteWrite();
      const rows = statement.all(...bindings.map(toBinding));
      return {
        toArray: () => rows,
        one: () => {
          if (rows.length !== 1) throw new Error(`expected one row of ${query}, got ${rows.length}`);
          return rows[0];
        },
        [Symbol.iterator]: () => rows[Symbol.iterator](),
      };
    },
  };

  transactionSync<T>(change: () => T): T {
    const name = `s${this.depth++}`;
    this.db.exec(`SAVEPOINT ${name}`);
    try {
      const value = change();
      this.db.exec(`RELEASE ${name}`);
      return value;
    } catch (fault) {
      this.db.exec(`ROLLBACK TO ${name}; RELEASE ${name}`);
      throw fault;
    } finally {
      this.depth -= 1;
    }
  }

  getAlarm(): Promise<number | null> {
    return Promise.resolve(this.alarmAt ?? null);
  }

  setAlarm(at: number): Promise<void> {
    this.alarmAt = at;
    this.noteWrite();
    return Promise.resolve();
  }

  deleteAlarm(): Promise<void> {
    this.alarmAt = undefined;
    this.noteWrite();
    return Promise.resolve();
  }

  // ── what the object does not see ───────────────────────────────────────────────────────────────────

  /** The alarm is gone, as far as the disk is concerned. */
  dropAlarm(): void {
    this.alarmAt = undefined;
    this.confirmedAlarmAt = undefined;
  }

  confirm(): void {
    this.confirmedAlarmAt = this.alarmAt;
    if (!this.dirty) return;
    this.db.exec("COMMIT; BEGIN");
    this.dirty = false;
  }

  /** A crash that loses what was not confirmed. */
  rollBack(): void {
    this.alarmAt = this.confirmedAlarmAt;
    if (!this.dirty) return;
    this.db.exec("ROLLBACK; BEGIN");
    this.dirty = false;
    this.writes += 1;
  }

  close(): void {
    this.prepared.clear();
    this.db.close();
  }

  private noteWrite(): void {
    this.dirty = true;
    this.writes += 1;
  }

  private prepare(query: string): Prepared {
    const held = this.prepared.get(query);
    if (held) return held;
    const fresh = { statement: this.db.prepare(query), writes: !/^\s*SELECT\b/i.test(query) };
    this.prepared.set(query, fresh);
    return fresh;
  }
}

function toBinding(value: SQLInputValue | ArrayBuffer | boolean): SQLInputValue {
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  if (typeof value === "boolean") throw new TypeError("an object's SQL takes no booleans");
  return value;
}
