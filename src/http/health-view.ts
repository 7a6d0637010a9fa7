// How an endpoint fares, as the stats and timelines show it.

import { z } from "zod";
import { instant } from "./schemas";

/** How the endpoint of a push subscription fares. */
export const healthView = z
  .object({
    state: z.enum(["closed", "open", "probing", "ramping", "unverified"]),
    since: instant.optional().meta({ description: "Since when it is not well, or not verified." }),
    until: instant.optional().meta({
      description: "Nothing is sent before; then one message probes it. unverified: when it is asked next.",
    }),
    reason: z.string().optional().meta({ description: "How it failed last." }),
    perSecond: z.number().optional().meta({ description: "Requests a second at most, while it recovers." }),
  })
  .optional()
  .meta({
    description: "How the endpoint of a push subscription fares; in the total, where it fares worst.",
  });
