// Cloudflare's price list (Workers Paid, beyond the included amounts), for what can be counted without an
// account: the one place where a price stands. Left out: rows read ($0.001 per million), and what no counter here
// knows: CPU time ($0.02 per million ms), the time objects are awake ($12.50 per million GB-s, 128 MB each) and
// storage ($0.20 per GB and month).

/** What was counted while messages were published and delivered. */
export type Counts = Readonly<{
  /** Rows that objects wrote; setting an alarm is one. */
  rowsWritten: number;
  /** Calls to objects, and alarms that fired. */
  objectRequests: number;
  /** Writes, reads and deletes of a Cloudflare Queue, per chunk of 64 kB of each of its messages. */
  queueOperations: number;
  d1RowsWritten: number;
  /** Requests from outside and Cloudflare Queue batches. Calls between Workers are free. */
  workerRequests: number;
}>;

/** US dollars per million of each. */
const DOLLARS_PER_MILLION: Readonly<Record<keyof Counts, number>> = {
  rowsWritten: 1.0,
  objectRequests: 0.15,
  queueOperations: 0.4,
  d1RowsWritten: 1.0,
  workerRequests: 0.3,
};

/** A Cloudflare Queue bills by chunks of this size (KB = 1,000 bytes). */
const QUEUE_CHUNK_BYTES = 64_000;
/** What a Cloudflare Queue adds to each message. */
const QUEUE_OVERHEAD_BYTES = 100;
/** One to write a message, one to read it, one to delete it. */
const OPERATIONS_PER_CHUNK = 3;

/** The operations of one message's way through a Cloudflare Queue, when no retry is needed. */
export function queueOperations(bodyBytes: number): number {
  return OPERATIONS_PER_CHUNK * Math.ceil((bodyBytes + QUEUE_OVERHEAD_BYTES) / QUEUE_CHUNK_BYTES);
}

/** What a million messages cost when `messages` of them cost `counts`: the sum of each count times its price. */
export function dollarsPerMillion(counts: Counts, messages: number): number {
  const names = Object.keys(DOLLARS_PER_MILLION) as (keyof Counts)[];
  return names.reduce((sum, name) => sum + (counts[name] / messages) * DOLLARS_PER_MILLION[name], 0);
}
