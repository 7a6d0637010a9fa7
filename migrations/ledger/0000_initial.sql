-- The ledger: what has been processed, or is being processed, so that it is processed once.
-- By hand, because drizzle cannot say STRICT or WITHOUT ROWID. Without a rowid a claim writes two rows (this
-- one and its index entry), a completion one and the sweep one: `expires_at` moves only when a claim is taken anew.
CREATE TABLE processed_messages (
  namespace   TEXT    NOT NULL,
  message_id  TEXT    NOT NULL,
  state       TEXT    NOT NULL CHECK (state IN ('claimed', 'completed', 'failed', 'released')),
  -- Rises with every claim of this message, also over a row that was swept: only the newest may settle.
  fence       INTEGER NOT NULL,
  claimant    TEXT    NOT NULL,
  lease_until INTEGER NOT NULL,
  fingerprint TEXT,
  result      TEXT,
  -- Claims so far, without those that were released unused.
  attempts    INTEGER NOT NULL,
  expires_at  INTEGER NOT NULL,
  PRIMARY KEY (namespace, message_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX processed_messages_by_expiry ON processed_messages (expires_at);
