// `Retry-After` (RFC 9110, section 10.2.3): how long an endpoint asks to be left alone.

const SECONDS = /^\d+(\.\d+)?$/;
const HTTP_DATE = /^(mon|tue|wed|thu|fri|sat|sun)[a-z]*,? /i;
const ZONE = / (gmt|utc)$/i;

/**
 * The wait that `header` asks for, in milliseconds, kept between `minMs` and `maxMs`; undefined when it asks for
 * nothing that can be understood. Seconds (also with decimals, as some send them) or any of the three HTTP dates.
 */
export function retryAfterMs(
  header: string | null,
  { now, minMs, maxMs }: { now: number; minMs: number; maxMs: number },
): number | undefined {
  const asked = header === null ? Number.NaN : askedMs(header.trim(), now);
  return Number.isNaN(asked) ? undefined : Math.min(Math.max(asked, minMs), maxMs);
}

function askedMs(text: string, now: number): number {
  if (SECONDS.test(text)) return Math.ceil(Number(text) * 1000);
  if (!HTTP_DATE.test(text)) return Number.NaN;
  return Date.parse(ZONE.test(text) ? text : `${text} GMT`) - now;
}
