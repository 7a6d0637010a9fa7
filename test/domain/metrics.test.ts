// The metrics' text: how the endpoints of push subscriptions fare, counted by partitions.

import { expect, test } from "vitest";
import type { EndpointView } from "../../src/endpoint-view";
import { renderMetrics } from "../../src/http/metrics";
import type { SubscriptionStats } from "../../src/subscription-calls";

const counts = { topics: 1, subscriptions: 2, stranded: 0 };
const samples = (subscription: string, ...states: (EndpointView["state"] | undefined)[]) => ({
  ...{ topic: "orders", subscription },
  stats: states.map((state) => ({ ...(state && { endpoint: { state } }) }) as SubscriptionStats),
});

test("the partitions are counted whose endpoint is left alone, recovers, or has to be verified", () => {
  const subscriptions = [
    samples("billing", "open", "probing", "ramping", "closed"),
    samples("audit", "unverified"),
    samples("pulled", undefined),
  ];
  const text = renderMetrics({ counts, topics: [], subscriptions, truncated: false, unreached: 0 });
  const shown = text.split("\n").filter((line) => line.startsWith("pennypost_subscription_endpoint_"));
  const of = (subscription: string) => `{topic="orders",subscription="${subscription}"}`;
  expect(shown).toEqual([
    `pennypost_subscription_endpoint_open${of("billing")} 2`,
    `pennypost_subscription_endpoint_open${of("audit")} 0`,
    `pennypost_subscription_endpoint_ramping${of("billing")} 1`,
    `pennypost_subscription_endpoint_ramping${of("audit")} 0`,
    `pennypost_subscription_endpoint_unverified${of("billing")} 0`,
    `pennypost_subscription_endpoint_unverified${of("audit")} 1`,
  ]);
});
