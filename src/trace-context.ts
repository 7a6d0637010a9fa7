// W3C Trace Context: what of it is believed, and what is sent on. A message keeps what its publish said; each attempt to
// deliver it is a span of its own in the same trace.
//
//   traceparent = version "-" trace id (32 hex) "-" span id (16 hex) "-" flags (2 hex)

import { limits } from "./limits";

export type TraceContext = Readonly<{ traceparent?: string; tracestate?: string }>;

const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
const PRINTABLE = /^[\x20-\x7e]+$/;
/** Sampled, and (level 2) that the trace id is random. The others are not defined, and not sent on. */
const KNOWN_FLAGS = 0x03;
const UINT32 = 0x1_0000_0000;

/**
 * What is believed of two headers: an invalid `traceparent` counts as absent, and `tracestate` means nothing without it.
 * A `tracestate` that is too long or not printable is dropped as a whole.
 */
export function readTrace(traceparent: string | null | undefined, tracestate?: string | null): TraceContext {
  if (!traceparent || !isTraceparent(traceparent)) return {};
  const isKept =
    !!tracestate && tracestate.length <= limits.tracestateLength && PRINTABLE.test(tracestate.trim());
  return { traceparent, ...(isKept && { tracestate: tracestate.trim() }) };
}

/** Whether a receiver must believe it: a version of tomorrow may say more behind what is known. */
export function isTraceparent(text: string): boolean {
  const parts = TRACEPARENT.exec(text);
  if (!parts || text.length > limits.traceparentLength) return false;
  const [, version, traceId = "", spanId = "", , more] = parts;
  if (version === "ff" || (version === "00" && more !== undefined)) return false;
  return /[^0]/.test(traceId) && /[^0]/.test(spanId);
}

/** The `traceparent` of another span in the trace of `traceparent`. `random` answers numbers in [0, 1). */
export function childTraceparent(traceparent: string, random: () => number): string | undefined {
  const parts = isTraceparent(traceparent) ? TRACEPARENT.exec(traceparent) : null;
  if (!parts) return undefined;
  const [, , traceId, , flags = "00"] = parts;
  const kept = (Number.parseInt(flags, 16) & KNOWN_FLAGS).toString(16).padStart(2, "0");
  return `00-${traceId}-${spanId(random)}-${kept}`;
}

/** 64 bits of chance; all zero is no span. */
function spanId(random: () => number): string {
  const hex = [random(), random()].map((each) =>
    Math.floor(each * UINT32)
      .toString(16)
      .padStart(8, "0"),
  );
  const id = hex.join("");
  return /[^0]/.test(id) ? id : "0000000000000001";
}
