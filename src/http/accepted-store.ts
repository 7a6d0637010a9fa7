// The accepted way of a publish: its record batches go to the Cloudflare Queue, which answers before any topic has seen
// them. What the catalog knows to be full is refused here, and so is what the Cloudflare Queue does not take.

import type { TopicEntry } from "../catalog/catalog-entry";
import { fullForMs } from "../catalog/full-store";
import type { Env } from "../env";
import { type BrokerError, refuse } from "../errors";
import { limits } from "../limits";
import type { Broker } from "./broker";
import { type Bound, noteAll, type Outcomes } from "./publish";
import { trying } from "./trying";

type Sent = Awaited<ReturnType<Env["INGRESS"]["send"]>> | Awaited<ReturnType<Env["INGRESS"]["sendBatch"]>>;

/** Sends record batches, as they were packed, and notes what became of each. */
export async function accept(
  broker: Broker,
  topic: TopicEntry,
  bounds: readonly Bound[],
  packed: readonly Uint8Array[],
  outcomes: Outcomes,
): Promise<void> {
  const now = broker.runtime.now();
  const full = bounds.map(({ batch }) => fullError(topic, batch.partition, now));
  const errors = await sendAccepted(
    broker,
    packed.filter((_, place) => !full[place]),
  );
  let sent = 0;
  bounds.forEach((bound, place) => {
    noteAll(outcomes, bound, full[place] ?? errors[sent++]);
  });
}

/** What the catalog says of a partition that refused for space: what is accepted now would only wait for it. */
function fullError(topic: TopicEntry, partition: number, now: number): BrokerError | undefined {
  const retryAfterMs = fullForMs(topic, partition, now);
  if (retryAfterMs === 0) return undefined;
  const detail = `Partition ${partition} is full. A stored publish says which subscription holds the space.`;
  return refuse("topic-full", detail, { retryAfterMs }).error;
}

/** Sends packed record batches to the Cloudflare Queue. Answers, for each, the refusal it met, if any. */
async function sendAccepted(
  broker: Broker,
  packed: readonly Uint8Array[],
): Promise<readonly (BrokerError | undefined)[]> {
  const errors: (BrokerError | undefined)[] = [];
  for (const group of sendGroups(packed)) {
    // After one refusal the rest would meet the same: they are not sent.
    const error = errors.find((met) => met !== undefined) ?? (await sendGroup(broker, group));
    for (const _ of group) errors.push(error);
  }
  return errors;
}

async function sendGroup(broker: Broker, group: readonly Uint8Array[]): Promise<BrokerError | undefined> {
  const { INGRESS } = broker.env;
  const [only, ...others] = group;
  const send = (): Promise<Sent> =>
    only && others.length === 0
      ? INGRESS.send(only, { contentType: "bytes" })
      : INGRESS.sendBatch(group.map((body) => ({ body, contentType: "bytes" as const })));
  const sent = await trying(broker, send, isTooFast);
  return sent.ok ? undefined : sent.error;
}

function isTooFast(fault: unknown): BrokerError | undefined {
  if (!/too many requests/i.test(String(fault))) return undefined;
  return refuse("too-many-requests", "Publishes arrive faster than the Cloudflare Queue takes them.", {
    retryAfterMs: limits.queueRetryAfterMs,
  }).error;
}

/** Cuts record batches into what one send to the Cloudflare Queue may carry. */
function sendGroups(packed: readonly Uint8Array[]): readonly (readonly Uint8Array[])[] {
  const groups: Uint8Array[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const body of packed) {
    const group = groups.at(-1);
    bytes += body.byteLength;
    if (group && bytes <= limits.queueSendBytes && group.length < limits.queueSendMessages) group.push(body);
    else {
      groups.push([body]);
      bytes = body.byteLength;
    }
  }
  return groups;
}
