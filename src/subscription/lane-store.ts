// The SQL of lanes that have followers: a row each, by ordering key. Takes no decisions.

import { type Lane, type LaneRow, laneRow } from "./lane";

export class LaneStore {
  /** Keys that have a row: so that nothing is deleted in vain. */
  private held = new Set<string>();

  constructor(private readonly sql: SqlStorage) {}

  load(): readonly LaneRow[] {
    const lanes = this.sql
      .exec<{ key: string; followers: number; followersFrom: number }>(
        "SELECT key, followers, followers_from AS followersFrom FROM lanes",
      )
      .toArray();
    this.held = new Set(lanes.map(({ key }) => key));
    return lanes;
  }

  /** Writes those of `keys` that have followers, and deletes the rows of those that have none any more. */
  save(lanes: ReadonlyMap<string, Lane>, keys: ReadonlySet<string>): void {
    for (const key of keys) {
      const row = laneRow(lanes.get(key));
      if (row) {
        this.sql.exec(
          `INSERT INTO lanes VALUES (?1, ?2, ?3)
           ON CONFLICT (key) DO UPDATE SET followers = ?2, followers_from = ?3`,
          key,
          row.followers,
          row.followersFrom,
        );
        this.held.add(key);
      } else if (this.held.delete(key)) {
        this.sql.exec("DELETE FROM lanes WHERE key = ?1", key);
      }
    }
  }
}
