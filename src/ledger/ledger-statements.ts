// The ledger's SQL, each statement with the index it uses. ?1 is the namespace, ?2 the items as JSON, but for the sweep.

// A fence is the instant of its claim, made to rise: so it also rises over a row that was swept and forgotten.
// A live claim is left alone, its claimant's own too: a repeat writes nothing. By the primary key.
export const CLAIM = `
  INSERT INTO processed_messages
    (namespace, message_id, state, fence, claimant, lease_until, fingerprint, result, attempts, expires_at)
  SELECT ?1, item.value ->> 'messageId', 'claimed', ?3, ?4, ?5, item.value ->> 'fingerprint', NULL, 1, ?6
  FROM json_each(?2) AS item WHERE true
  ON CONFLICT (namespace, message_id) DO UPDATE SET
    state = 'claimed',
    fence = max(processed_messages.fence + 1, excluded.fence),
    claimant = excluded.claimant,
    lease_until = excluded.lease_until,
    fingerprint = coalesce(processed_messages.fingerprint, excluded.fingerprint),
    attempts = processed_messages.attempts + 1,
    expires_at = max(processed_messages.expires_at, excluded.expires_at)
  WHERE processed_messages.state <> 'completed'
    AND (processed_messages.state <> 'claimed' OR processed_messages.lease_until <= ?3)
    AND (processed_messages.fingerprint IS NULL OR excluded.fingerprint IS NULL
         OR processed_messages.fingerprint = excluded.fingerprint)`;

// By the primary key, once per item.
export const READ = `
  SELECT row.message_id, row.state, row.fence, row.claimant, row.lease_until, row.fingerprint, row.result, row.attempts,
    row.expires_at
  FROM json_each(?2) AS item
  CROSS JOIN processed_messages AS row ON row.namespace = ?1 AND row.message_id = item.value ->> 'messageId'
  ORDER BY item.key`;

// The settles. None moves expires_at: that would write its index too. The items are materialized with their
// namespace so that each is looked up by the primary key: joined directly, SQLite would read the whole namespace.
const settling = (change: string, from: string) => `
  WITH item AS MATERIALIZED (
    SELECT ?1 AS namespace, value ->> 'messageId' AS message_id, value ->> 'fence' AS fence, value ->> 'result' AS result,
      value ->> 'leaseUntil' AS lease_until
    FROM json_each(?2))
  UPDATE processed_messages AS row SET ${change} FROM item
  WHERE row.namespace = item.namespace AND row.message_id = item.message_id AND row.fence = item.fence AND ${from}`;
export const COMPLETE = settling("state = 'completed', result = item.result", "row.state <> 'completed'");
export const EXTEND = settling("lease_until = ?3", "row.state = 'claimed'");
// A lease that was moved since its holder last saw it was moved by the receiver, and stays.
export const HAND_OVER = settling(
  "lease_until = CASE WHEN row.lease_until > item.lease_until THEN row.lease_until ELSE ?3 END",
  "row.state = 'claimed'",
);
export const FAIL = settling("state = 'failed'", "row.state = 'claimed'");
export const RELEASE = settling("state = 'released', attempts = attempts - 1", "row.state = 'claimed'");

// By processed_messages_by_expiry. A claim that was extended past its row's expiry is still its holder's.
export const SWEEP = `
  DELETE FROM processed_messages WHERE (namespace, message_id) IN (
    SELECT namespace, message_id FROM processed_messages INDEXED BY processed_messages_by_expiry
    WHERE expires_at <= ?1 AND (state <> 'claimed' OR lease_until <= ?1)
    ORDER BY expires_at LIMIT ?2)`;
