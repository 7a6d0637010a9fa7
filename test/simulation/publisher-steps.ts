// What publishers do: they publish, at once or for later, with a time to live or without; publish again what they were not
// answered for; take back or move what is delayed; and send on what is stranded.

import { resendStranded } from "../../src/catalog/stranded-store";
import { ok, type Result } from "../../src/errors";
import { takeInAll } from "../../src/http/intake";
import type { Outcomes } from "../../src/http/publish";
import type { Draft } from "../../src/http/publish-items";
import { knowingPriorities, publishItems } from "../../src/http/publish-store";
import { timedFields } from "../../src/http/timing";
import type { AskedTiming } from "../../src/message";
import { layoutOf } from "../../src/priority";
import type { ProducerMark } from "../../src/record-batch";
import type { Owner } from "./agenda";
import { bytes, type Clients } from "./clients";
import type { TopicRow } from "./lives";
import { brokerId } from "./log-witness";

const REMEMBERED_DRAFTS = 30;
/** Topics as isolates remember them: of before a raise, or of a life that has ended. */
const REMEMBERED_ROWS = 3;

type Publish = Readonly<{
  drafts: readonly Draft[];
  wait: boolean;
  producer?: ProducerMark;
  from?: Owner;
}>;
type Heard = Readonly<{ answered(outcomes: Outcomes): void; failed(): void }>;

export class PublisherSteps {
  private readonly drafts: Draft[] = [];
  private readonly rows: TopicRow[] = [];
  private named = 0;

  constructor(private readonly clients: Clients) {}

  publish(): void {
    const { chance } = this.clients;
    const drafts = Array.from({ length: chance.between(1, 6) }, () => this.draft());
    this.send({ drafts, wait: chance.happens(0.5) });
  }

  /** A publisher that does not know, or forgot, publishes again; perhaps by mistake with other content. */
  republish(): void {
    const { chance, world } = this.clients;
    if (this.drafts.length === 0) return;
    const { message, timing, priority } = chance.pick(this.drafts);
    world.counts.repeatedPublishes += 1;
    const body = chance.happens(0.15) ? bytes(`other ${message.id}`) : message.body;
    const publishedAt = world.platform.agenda.now;
    const { deliverAt: _, expiresAt: __, ...plain } = message;
    const again = { ...plain, publishedAt, body, ...timedFields(timing, publishedAt) };
    const how = { ...(timing && { timing }), ...(priority !== undefined && { priority }) };
    const draft = { message: again, isClientId: true, ...how };
    this.send({ drafts: [draft], wait: chance.happens(0.7) });
  }

  private draft(): Draft {
    const { chance, world } = this.clients;
    const timing = this.timing();
    // A delayed message is released where it waits: since a raise, with no order to its key's new partition.
    const mayBeKeyed = !world.plan.features.has("raise") || timing?.delayMs === undefined;
    const draft = this.draftOf(this.clients.fresh("m"), {
      orderingKey: mayBeKeyed ? chance.pick(world.plan.keys) : undefined,
      timing,
    });
    if (world.priorities) Object.assign(draft, this.somePriority());
    if (!draft.isClientId && world.plan.forwards.targets.length > 0) return this.namedByBroker(draft);
    if (draft.isClientId) this.drafts.push(draft);
    if (this.drafts.length > REMEMBERED_DRAFTS) this.drafts.shift();
    return draft;
  }

  private somePriority(): { priority?: number } {
    const row = this.clients.world.topicRow();
    const priority = this.clients.chance.pick([undefined, ...(row ? layoutOf(row).priorities : [])]);
    return priority === undefined ? {} : { priority };
  }

  /** As it is where forwards tell ids of the broker's making from others. */
  private namedByBroker(draft: Draft): Draft {
    const id = brokerId(++this.named);
    return { ...draft, message: { ...draft.message, id, body: bytes(id) } };
  }

  private timing(): AskedTiming | undefined {
    const { chance, world } = this.clients;
    const { features } = world.plan;
    const delayMs =
      features.has("delays") && chance.happens(0.35) ? chance.pick([0, 500, 5_000, 60_000]) : undefined;
    const ttlMs = features.has("ttl") && chance.happens(0.4) ? chance.pick([300, 3_000, 30_000]) : undefined;
    if (delayMs === undefined && ttlMs === undefined) return undefined;
    return { ...(delayMs !== undefined && { delayMs }), ...(ttlMs !== undefined && { ttlMs }) };
  }

  /** A message that says its own id. */
  draftOf(
    id: string,
    { orderingKey, timing }: Readonly<{ orderingKey: string | undefined; timing?: AskedTiming | undefined }>,
  ): Draft {
    const { chance, world } = this.clients;
    const publishedAt = world.platform.agenda.now;
    const { subjects, features } = world.plan;
    const subject = features.has("filters") ? chance.pick(subjects) : undefined;
    const message = {
      ...{ id, publishedAt, contentType: "text/plain", body: bytes(id) },
      ...(subject !== undefined && { subject }),
      ...(orderingKey !== undefined && { orderingKey }),
      ...timedFields(timing, publishedAt),
    };
    return { message, isClientId: chance.happens(0.4), ...(timing && { timing }) };
  }

  /** Publishes to the topic as some isolate knows it. */
  send({ drafts, wait, producer, from }: Publish, heard?: Heard): void {
    const { world } = this.clients;
    const row = this.knownRow();
    if (!row) {
      heard?.failed();
      return;
    }
    world.counts.publishes += 1;
    const messages = drafts.map(({ message }) => message);
    const floors = world.publications.publishing(drafts);
    const items = structuredClone(drafts).map((draft) => ok(draft));
    const publish = { items, atomic: producer !== undefined, wait, ...(producer && { producer }) };
    const work = async (owner: Owner) => {
      const broker = world.platform.brokerFor(owner);
      const topic = await knowingPriorities(broker, world.entryOf(row), items);
      return publishItems(broker, topic, { ...publish, items: takeInAll(items, topic, "messages") });
    };
    const answered = (answer: unknown) => {
      const outcomes = answer as Outcomes;
      for (const [index, outcome] of outcomes) {
        const message = messages[index];
        if (!message) throw new Error("an outcome for no message");
        if (outcome.status === "accepted") world.counts.acceptedPublishes += 1;
        if ("duplicate" in outcome && outcome.duplicate) world.counts.duplicatesAnswered += 1;
        if (outcome.status === "refused" && outcome.error.code === "id-reused")
          world.counts.reusedIdsRefused += 1;
        world.publications.answered(message, outcome, floors, world.platform.agenda.now);
      }
      heard?.answered(outcomes);
    };
    this.clients.ask("http", work, { answered, failed: () => heard?.failed(), ...(from && { from }) });
  }

  private knownRow(): TopicRow | undefined {
    const { chance, world } = this.clients;
    const now = world.topicRow();
    const isNews = now && JSON.stringify(now) !== JSON.stringify(this.rows[0]);
    if (isNews && now.state === "active") this.rows.unshift(now);
    this.rows.splice(REMEMBERED_ROWS);
    const isNewest = chance.happens(world.plan.replacesTopic ? 0.4 : 0.75);
    return isNewest ? this.rows[0] : this.rows[chance.below(this.rows.length)];
  }

  // ── what is delayed ────────────────────────────────────────────────────────────────────────────────

  cancel(): void {
    this.atDelayed("cancel", (id) => ({ id }));
  }

  reschedule(): void {
    const { now } = this.clients.world.platform.agenda;
    const deliverAt = now + this.clients.chance.pick([0, 1_000, 20_000]);
    this.atDelayed("reschedule", (id) => ({ id, deliverAt }));
  }

  private atDelayed(method: string, callOf: (id: string) => unknown): void {
    const { chance, world } = this.clients;
    const open = world.log?.delays.open ?? [];
    if (open.length === 0) return;
    const { id, partition } = chance.pick(open);
    this.clients.call(world.topicObject(partition).remote, method, [callOf(id)]);
  }

  // ── what is stranded ───────────────────────────────────────────────────────────────────────────────

  /** Sends on what is stranded: to where it was bound, which may be gone. */
  resend(generation?: string): void {
    const { world, chance } = this.clients;
    const rows = world.platform.catalog
      .peek<{ id: string; generation: string }>("SELECT id, generation FROM stranded_batches ORDER BY id")
      .filter((row) => generation === undefined || row.generation === generation);
    const row = rows[chance.below(Math.max(1, rows.length))];
    if (!row) return;
    this.clients.ask("operator", (owner) => resendStranded(world.platform.catalogFor(owner), row.id), {
      answered: (answer) => {
        if ((answer as Result<unknown>).ok) world.counts.resent += 1;
      },
    });
  }
}
