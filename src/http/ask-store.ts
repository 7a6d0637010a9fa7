// Asking a topic: the object of the replies is opened, the request is published like any message, and the reply waited
// for. Whatever fails or goes away between these steps, the same request made again joins it where it stands.

import { waitUntil } from "cloudflare:workers";
import type { TopicEntry } from "../catalog/catalog-entry";
import { CatalogFault } from "../catalog/catalog-store";
import { ok, type Result, refuse } from "../errors";
import { fingerprintBytes } from "../fingerprint";
import type { Message } from "../message";
import { toBase64 } from "../message-json";
import { replyName } from "../object-name";
import { DEFAULT_PRIORITY } from "../priority";
import { unpackRecords } from "../record-batch";
import { type OpenAnswer, type Reply, type ReplyCalls, replyToText } from "../reply-calls";
import { sha256 } from "./auth";
import type { Broker } from "./broker";
import type { Metering } from "./metering-store";
import { topicAt } from "./partition-routes";
import type { Draft } from "./publish-items";
import { mayBeTaken, publishItems } from "./publish-store";
import type { Principal } from "./scope";

/** `reply` is absent when none came in time. */
export type Heard = Readonly<{ id: string; reply?: Reply }>;
type Opened = Readonly<{ calls: ReplyCalls; opened: OpenAnswer }>;

/** The object of the replies to one request. */
export function repliesAt({ env }: Broker, { generation }: TopicEntry, id: string): ReplyCalls {
  return env.REPLY.getByName(replyName({ generation, id }));
}

/** Who asks what of whom, and until when a reply is waited for. */
export type Asking = Readonly<{
  broker: Broker;
  principal: Principal;
  metering: Metering;
  topic: TopicEntry;
  draft: Draft;
  until: number;
}>;

/** Asks, and waits for a reply. Refused when nobody could reply, when a limit is spent, or when it cannot be published. */
export async function askTopic(asker: Asking): Promise<Result<Heard>> {
  const { broker, topic, draft, until } = asker;
  const { id } = draft.message;
  const somebody = await hasReaders(broker, topic);
  if (!somebody.ok) return somebody;
  const asking = publishMetered(asker);
  // Behind the request: with its asker gone, the request itself is cut off at any await.
  waitUntil(asking.catch(() => undefined));
  const asked = await asking;
  if (!asked.ok) return asked;
  const { calls, opened } = asked.value;
  if (opened.reply) return ok({ id, reply: opened.reply });
  try {
    const heard = await calls.hear({ waitMs: Math.max(0, until - broker.runtime.now()) });
    return heard.ok ? ok({ id, ...heard.value }) : heard;
  } catch {
    // What was waited on is away for the moment. The request is stored: nothing is known of a reply, which is the truth.
    return ok({ id });
  }
}

/** Whether anybody is there to reply. While D1 is away that cannot be told, and the request is as good as any publish. */
async function hasReaders({ catalog }: Broker, topic: TopicEntry): Promise<Result<null>> {
  if (topic.kind === "queue") return ok(null);
  try {
    const some = await catalog.store.listSubscriptions(topic, { limit: 1 });
    if (some.length > 0) return ok(null);
    return refuse("nobody-to-reply", `Topic "${topic.name}" has no subscription: nobody could reply.`);
  } catch (fault) {
    if (fault instanceof CatalogFault) return ok(null);
    throw fault;
  }
}

/** A request counts as the message that it is, unless it was answered already: then nothing is published. */
async function publishMetered(asking: Asking): Promise<Result<Opened>> {
  const { principal, metering, topic } = asking;
  const one = { principal, topic, count: 1 };
  const published = await metering.forMessages(one, () => publishRequest(asking), countPublished);
  return published.ok ? published.value : published;
}

function countPublished(published: Result<Opened>): number {
  const isTaken = published.ok ? !published.value.opened.reply : mayBeTaken(published.error);
  return isTaken ? 1 : 0;
}

async function publishRequest({ broker, topic, draft, until }: Asking): Promise<Result<Opened>> {
  const { id } = draft.message;
  const calls = repliesAt(broker, topic, id);
  const fingerprint = await fingerprintOf(draft);
  const waitMs = Math.max(0, until - broker.runtime.now());
  const opened = await calls.open({ id, fingerprint, waitMs });
  if (!opened.ok) return opened;
  if (opened.value.reply) return ok({ calls, opened: opened.value });
  const replyTo = replyToText({ generation: topic.generation, id, secret: opened.value.secret });
  const published = await publishOnce(broker, topic, draft, replyTo);
  if (!published.ok) return published;
  const { first } = published.value;
  const isKnown = first === undefined || !opened.value.fresh;
  if (isKnown || (await asksFor(broker, topic, first, replyTo))) return ok({ calls, opened: opened.value });
  return refuse("gone", "This request was made before, and its replies are no longer kept.", { field: "id" });
}

/**
 * The word that it is a request is part of its content; where its reply goes is not. Its priority is: to the topic the
 * same id under another is another message, and this would be the reply to both.
 */
async function fingerprintOf({ message, timing, priority = DEFAULT_PRIORITY }: Draft): Promise<string> {
  const digest = await sha256(fingerprintBytes({ ...message, replyTo: "" }, timing));
  return `${priority}:${toBase64(new Uint8Array(digest))}`;
}

type Place = Readonly<{ partition: number; offset: number }>;

/**
 * Publishes the request, stored; its id always counts as the client's, so that to repeat it publishes nothing. Answers
 * where its first publish is, when this was not it.
 */
async function publishOnce(
  broker: Broker,
  topic: TopicEntry,
  draft: Draft,
  replyTo: string,
): Promise<Result<Readonly<{ first?: Place }>>> {
  const message: Message = { ...draft.message, replyTo };
  const items = [ok({ ...draft, message, isClientId: true })];
  const outcome = (await publishItems(broker, topic, { items, atomic: false, wait: true })).get(0);
  if (outcome?.status === "refused") return { ok: false, error: outcome.error };
  if (outcome?.status !== "stored") throw new Error("a request is stored or refused");
  const { partition, offset, duplicate } = outcome;
  return ok(duplicate ? { first: { partition, offset } } : {});
}

/**
 * Whether the message at `place` asks for its reply where this request waits. Two askers at once may each open and publish
 * first; but what was published before its object was forgotten is answered to nobody.
 */
async function asksFor(
  broker: Broker,
  topic: TopicEntry,
  { partition, offset }: Place,
  replyTo: string,
): Promise<boolean> {
  const found = await topicAt(broker, topic, partition).find({ offset });
  const records = found.ok ? found.value.place?.run?.records : undefined;
  return records !== undefined && unpackRecords(records)[0]?.replyTo === replyTo;
}
