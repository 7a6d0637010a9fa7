// The metrics as Prometheus reads them (text format 0.0.4).

import type { SubscriptionStats } from "../subscription-calls";
import type { TopicStats } from "../topic-calls";

export type TopicSample = Readonly<{ topic: string; stats: readonly TopicStats[] }>;
export type SubscriptionSample = Readonly<{
  topic: string;
  subscription: string;
  stats: readonly SubscriptionStats[];
}>;
export type Samples = Readonly<{
  counts: Readonly<{ topics: number; subscriptions: number; stranded: number }>;
  topics: readonly TopicSample[];
  subscriptions: readonly SubscriptionSample[];
  /** Not every object was asked. */
  truncated: boolean;
  /** Objects that did not answer. */
  unreached: number;
}>;

type Kind = "gauge" | "counter";
type Sample = readonly [labels: Readonly<Record<string, string>>, value: number];

const topicMetrics = {
  head: ["counter", "Messages stored since the topic was created.", "messages_total"],
  bytes: ["gauge", "Bytes that the topic's objects hold.", "bytes"],
  rejections: ["gauge", "Accepted messages that were refused and kept to be looked at.", "rejections"],
  scheduled: ["gauge", "Delayed messages that are not due yet.", "scheduled"],
} as const;

const subscriptionMetrics = {
  unread: ["gauge", "Messages not yet read from the log.", "unread"],
  waiting: ["gauge", "Deliveries that wait for a retry or for their lane.", "waiting"],
  leased: ["gauge", "Deliveries leased at this moment.", "leased"],
  dead: ["gauge", "Dead letters.", "dead_letters"],
  formerDead: ["gauge", "Dead letters of before a seek.", "former_dead_letters"],
  blockedLanes: ["gauge", "Lanes that wait.", "blocked_lanes"],
  settled: ["counter", "Deliveries settled as done.", "settled_total"],
  filtered: ["counter", "Messages that the filter left out.", "filtered_total"],
  expired: ["counter", "Messages that expired, or that retention removed unread.", "expired_total"],
  purged: ["counter", "Dead letters purged.", "purged_total"],
  moved: ["counter", "Dead letters moved to another topic.", "moved_total"],
} as const;

/** The page. It says when it does not show everything. */
export function renderMetrics({ counts, topics, subscriptions, truncated, unreached }: Samples): string {
  const lines: string[] = [];
  const single = (name: string, help: string, value: number) =>
    lines.push(...render(name, "gauge", help, [[{}, value]]));
  single("pennypost_topics", "Topics and queues.", counts.topics);
  single("pennypost_subscriptions", "Subscriptions, those of queues included.", counts.subscriptions);
  single("pennypost_stranded_batches", "Record batches that could not reach their topic.", counts.stranded);
  single(
    "pennypost_metrics_truncated",
    "1 when not every topic and subscription is shown.",
    truncated ? 1 : 0,
  );
  single("pennypost_metrics_unreached", "Topics and subscriptions that did not answer.", unreached);
  for (const [field, [kind, help, suffix]] of Object.entries(topicMetrics)) {
    const samples = topics.map(
      ({ topic, stats }): Sample => [{ topic }, sum(stats, field as keyof typeof topicMetrics)],
    );
    lines.push(...render(`pennypost_topic_${suffix}`, kind, help, samples));
  }
  lines.push(...endpointLines(subscriptions));
  for (const [field, [kind, help, suffix]] of Object.entries(subscriptionMetrics)) {
    const samples = subscriptions.map(
      ({ topic, subscription, stats }): Sample => [
        { topic, subscription },
        sum(stats, field as keyof typeof subscriptionMetrics),
      ],
    );
    lines.push(...render(`pennypost_subscription_${suffix}`, kind, help, samples));
  }
  return `${lines.join("\n")}\n`;
}

/** Partitions whose endpoint is left alone, or is being probed, those whose endpoint recovers, or is not verified. */
function endpointLines(subscriptions: readonly SubscriptionSample[]): string[] {
  const pushed = subscriptions.filter(({ stats }) => stats.some(({ endpoint }) => endpoint));
  const count = (states: readonly string[]) =>
    pushed.map(({ topic, subscription, stats }): Sample => {
      const found = stats.filter(({ endpoint }) => endpoint && states.includes(endpoint.state));
      return [{ topic, subscription }, found.length];
    });
  const name = "pennypost_subscription_endpoint";
  return [
    ...render(
      `${name}_open`,
      "gauge",
      "Partitions that leave their endpoint alone.",
      count(["open", "probing"]),
    ),
    ...render(`${name}_ramping`, "gauge", "Partitions whose endpoint recovers.", count(["ramping"])),
    ...render(
      `${name}_unverified`,
      "gauge",
      "Partitions whose endpoint has to be verified first.",
      count(["unverified"]),
    ),
  ];
}

function sum<Field extends string>(stats: readonly Readonly<Record<Field, number>>[], field: Field): number {
  return stats.reduce((total, each) => total + each[field], 0);
}

function render(name: string, kind: Kind, help: string, samples: readonly Sample[]): string[] {
  const head = [`# HELP ${name} ${help}`, `# TYPE ${name} ${kind}`];
  return [...head, ...samples.map(([labels, value]) => `${name}${labelText(labels)} ${value}`)];
}

function labelText(labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels).map(
    ([label, value]) => `${label}="${value.replace(/["\\\n]/g, "\\$&")}"`,
  );
  return pairs.length > 0 ? `{${pairs.join(",")}}` : "";
}
