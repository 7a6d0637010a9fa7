// The endpoint of a push subscription as the API takes it: where requests go, which headers they have beside the broker's,
// and what signs them.

import { z } from "zod";
import { limits } from "../limits";
import { whole } from "./schemas";
import { HEADER_NAME } from "./topic-schemas";

const SIGNING_SECRET = /^whsec_[A-Za-z0-9+/]{32,88}={0,2}$/;
/** What the broker or the connection sets; an endpoint's own headers cannot. */
const RESERVED_HEADER =
  /^(?:host|content-length|content-type|connection|expect|keep-alive|te|trailer|transfer-encoding|upgrade|traceparent|proxy-.*|webhook-.*|pennypost-.*|cf-.*)$/;
const HEADER_VALUE = /^[\x20-\x7e]*$/;
const HEADER_VALUE_LENGTH = 4_096;

const endpointHeaders = z
  .record(z.string(), z.string().max(HEADER_VALUE_LENGTH))
  .default({})
  .superRefine((headers, context) => {
    const names = Object.keys(headers);
    if (names.length > limits.endpointHeaders) {
      const params = { limit: limits.endpointHeaders };
      context.addIssue({ code: "custom", message: `at most ${limits.endpointHeaders} headers`, params });
    }
    for (const header of names) {
      const fault = headerFault(header, headers[header] ?? "");
      if (fault) context.addIssue({ code: "custom", message: fault, path: [header] });
    }
  });

function headerFault(header: string, value: string): string | undefined {
  if (!HEADER_NAME.test(header)) return "this is no header's name";
  if (RESERVED_HEADER.test(header.toLowerCase())) return "this header is set by the broker";
  return HEADER_VALUE.test(value) ? undefined : "a header's value is printable ASCII";
}

export const endpoint = z.strictObject({
  url: z.string(),
  headers: endpointHeaders.meta({ description: "Sent with every request. Their values are never shown." }),
  timeoutMs: whole(limits.minTimeoutMs, limits.maxTimeoutMs).default(limits.defaultTimeoutMs),
  signingSecret: z
    .string()
    .regex(SIGNING_SECRET, "`whsec_` and the base64 of 24 to 64 bytes are needed")
    .optional()
    .meta({ description: "Made by the broker unless given. Shown once, when it is made." }),
});
