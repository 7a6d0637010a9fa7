// The platform that the real modules run on in a world: bindings for each owner, the objects, the dispatcher, the
// Cloudflare Queues and both databases. Nothing here decides what happens; chance and the steps do.

import { createHash } from "node:crypto";
import { CapacityObject } from "../../src/capacity/capacity-object";
import type { ShareAnswer } from "../../src/capacity-calls";
import { CatalogStore } from "../../src/catalog/catalog-store";
import type { Catalog } from "../../src/catalog/entry-lifecycle";
import type { Begin, DispatchCall } from "../../src/dispatch-calls";
import type { Env } from "../../src/env";
import type { Result } from "../../src/errors";
import type { Broker } from "../../src/http/broker";
import { consumeIngress, consumeIngressDead } from "../../src/ingress/ingress-consumer";
import { LedgerStore } from "../../src/ledger/ledger-store";
import { DEFAULT_PRIORITY, priorityShown } from "../../src/priority";
import { dispatch } from "../../src/push/dispatch";
import type { Carrying, Dispatching } from "../../src/push/dispatch-run";
import { forward } from "../../src/push/forward";
import { pauseGone, targetOf } from "../../src/push/target-store";
import type { ReportAnswer } from "../../src/report-calls";
import type { Runtime } from "../../src/runtime";
import { SubscriptionObject } from "../../src/subscription/subscription-object";
import { TopicObject } from "../../src/topic/topic-object";
import { Agenda, type Owner } from "./agenda";
import type { Chance } from "./chance";
import { CloudflareQueue } from "./cloudflare-queue";
import type { Counts } from "./coverage";
import { D1StandIn } from "./d1-stand-in";
import { Endpoint, type HandedOver, type Request } from "./endpoints";
import { Network, type Remote, stubOf } from "./network";
import { type Instance, type Live, type ObjectKind, SimulatedObject } from "./object-host";
import type { PaceWitness } from "./pace-witness";
import { Workers } from "./workers";

export type PlatformParts = Readonly<{
  chance: Chance;
  counts: Counts;
  migrationsDir: string;
  /** How likely an object crashes while a write of it is on its way to the disk. */
  crashiness: number;
  /** How likely an endpoint answers 202 to what it may complete itself. */
  takesOn: number;
  stepped: (object: SimulatedObject) => void;
  confirmed: (object: SimulatedObject) => void;
  undone: (object: SimulatedObject) => void;
  /** A dispatcher sends a request; it is under way no more. */
  sends: (request: Request) => void;
  ended: (request: Request) => void;
  /** Within what an endpoint answers that does so soon. */
  soonMs: number;
  /** Told of what partitions ask for together. */
  paces: PaceWitness;
}>;

type Class = new (ctx: unknown, env: Env) => { runtime: Runtime } & Instance;
const CLASSES = {
  topic: TopicObject as unknown as Class,
  subscription: SubscriptionObject as unknown as Class,
  // It sets no alarm.
  capacity: CapacityObject as unknown as Class,
};
/** Of a real INGRESS 100. */
const INGRESS_RETRIES = 4;
/** What keeps nothing has nothing to witness. */
const UNWATCHED = { stepped: () => undefined, confirmed: () => undefined, undone: () => undefined };

export class Platform {
  readonly agenda: Agenda;
  readonly network: Network;
  readonly workers: Workers;
  readonly catalog: D1StandIn;
  readonly ledger: D1StandIn;
  readonly ingress: CloudflareQueue;
  readonly ingressDead: CloudflareQueue;
  readonly runtime: Runtime;
  readonly objects = new Map<string, SimulatedObject>();
  /** An endpoint has taken something on. */
  receive: (handed: HandedOver) => void = () => undefined;
  private readonly endpoints = new Map<string, Endpoint>();
  private readonly dispatcher;
  /** What a dispatch calls back, by its lease. */
  private readonly begins = new Map<string, Remote>();
  private ids = 0;

  constructor(private readonly parts: PlatformParts) {
    const { chance, counts, migrationsDir } = parts;
    this.agenda = new Agenda(chance);
    const { agenda } = this;
    this.network = new Network(agenda, chance, counts);
    this.workers = new Workers(agenda, chance, counts, () => this.network.faults.on);
    this.catalog = new D1StandIn("catalog", migrationsDir, this.network, counts);
    this.ledger = new D1StandIn("ledger", migrationsDir, this.network, counts);
    this.runtime = {
      now: () => agenda.now,
      random: () => chance.next(),
      // Rising, as a UUIDv7 is.
      newId: () => `id-${String(++this.ids).padStart(6, "0")}`,
    };
    const { network, workers, runtime } = this;
    const queue = { agenda, network, chance, counts, workers };
    this.ingressDead = new CloudflareQueue(
      "pennypost-ingress-dead",
      (owner, batch) => consumeIngressDead(batch, this.envFor(owner), runtime),
      queue,
    );
    this.ingress = new CloudflareQueue(
      "pennypost-ingress",
      (owner, batch) => consumeIngress(batch, this.envFor(owner), runtime),
      queue,
      { retries: INGRESS_RETRIES, dead: this.ingressDead },
    );
    this.dispatcher = workers.remote(
      "dispatcher",
      (owner, [call]) => this.deliver(owner, call as DispatchCall),
      () => network.strikes(network.faults.doubling),
    );
  }

  object(kind: ObjectKind, id: string): SimulatedObject {
    const { agenda, network } = this;
    const { chance, counts } = this.parts;
    const { stepped, confirmed, undone } = kind === "capacity" ? UNWATCHED : this.parts;
    const crashiness = () => (network.faults.on ? this.parts.crashiness : 0);
    const name = `${kind}:${id}`;
    const parts = { agenda, network, chance, counts, crashiness, stepped, confirmed, undone };
    const object =
      this.objects.get(name) ?? new SimulatedObject(kind, id, (live, ctx) => this.make(live, ctx), parts);
    this.objects.set(name, object);
    return object;
  }

  /** The endpoint of one life of a subscription. */
  endpoint(generation: string): Endpoint {
    const { agenda, network, workers } = this;
    const { chance, counts, sends, ended, soonMs, takesOn } = this.parts;
    const kill = (owner: Owner) => workers.killOwner(owner);
    const receive = (handed: HandedOver) => this.receive(handed);
    const parts = { agenda, network, chance, counts, sends, ended, soonMs, kill, takesOn, receive };
    const endpoint = this.endpoints.get(generation) ?? new Endpoint(generation, parts);
    this.endpoints.set(generation, endpoint);
    return endpoint;
  }

  envFor(owner: Owner): Env {
    const namespace = (kind: ObjectKind) => ({
      getByName: (id: string) =>
        stubOf((method, args) => this.network.call(owner, this.object(kind, id).remote, method, args)),
    });
    return {
      TOPIC: namespace("topic"),
      SUBSCRIPTION: namespace("subscription"),
      CAPACITY: namespace("capacity"),
      CATALOG: this.catalog.bindingFor(owner),
      LEDGER: this.ledger.bindingFor(owner),
      INGRESS: this.ingress.bindingFor(owner),
      ENVIRONMENT: "local",
      LOG: "off",
    } as Env;
  }

  catalogFor(owner: Owner): Catalog {
    const env = this.envFor(owner);
    return { env, store: new CatalogStore(env.CATALOG, this.runtime), runtime: this.runtime };
  }

  brokerFor(owner: Owner): Broker {
    const catalog = this.catalogFor(owner);
    const { env, runtime } = catalog;
    const ledger = new LedgerStore(env.LEDGER, runtime);
    const own = { secretsKeys: [], ownHosts: [], verification: "none" as const };
    return { env, runtime, catalog, ledger, rootToken: "", ...own, local: true, log: false };
  }

  ledgerFor(owner: Owner): LedgerStore {
    return new LedgerStore(this.ledger.bindingFor(owner), this.runtime);
  }

  /** The ledger of a dispatch, whose claims' answers are counted. */
  private countingLedger(owner: Owner): LedgerStore {
    const { counts } = this.parts;
    const ledger = this.ledgerFor(owner);
    const claim = ledger.claim.bind(ledger);
    ledger.claim = async (call) => {
      const answers = await claim(call);
      counts.claimsBusy += answers.filter(({ state }) => state === "in-progress").length;
      counts.completedUnsent += answers.filter(({ state }) => state === "completed").length;
      return answers;
    };
    return ledger;
  }

  close(): void {
    for (const { storage } of this.objects.values()) storage.close();
    this.catalog.close();
    this.ledger.close();
  }

  private make(live: Live, ctx: unknown): Instance {
    const deliver = (call: DispatchCall, begin: Begin) => {
      live.object.note({ method: "deliver", args: [call], answer: undefined });
      this.begins.set(call.lease.leaseId, beginOf(live, begin));
      return this.network.call(live, this.dispatcher, "deliver", [call]);
    };
    const exports = { Dispatcher: { deliver } };
    if (live.object.kind === "capacity") this.parts.paces.capacityBegan(live.object.id, this.agenda.now);
    const instance = new CLASSES[live.object.kind]({ ...(ctx as object), exports }, this.envFor(live));
    instance.runtime = this.runtime;
    return instance;
  }

  private deliver(owner: Owner, call: DispatchCall): Promise<void> {
    const carrying = this.carrying(owner, call);
    const target = call.settings.forward;
    if (!target) {
      this.parts.paces.dispatchBegan(call.lease.leaseId, this.agenda.now);
      return dispatch(call, this.dispatching(owner, call, carrying));
    }
    const env = this.envFor(owner);
    const targetGone = () => void pauseGone(env, this.runtime, call).catch(() => undefined);
    return forward(call, { ...carrying, ...targetOf(env, this.runtime, target), targetGone });
  }

  private carrying(owner: Owner, call: DispatchCall): Carrying {
    const { agenda, network } = this;
    const subscription = this.object("subscription", `${call.generation}:${call.partition}`);
    const begins = this.begins.get(call.lease.leaseId);
    if (!begins) throw new Error("nobody made this call");
    return {
      begin: async () => (await network.call(owner, begins, "begin", [])) as boolean,
      runtime: this.runtime,
      sleep: (ms) => agenda.sleep(ms, owner),
      report: async (report) =>
        (await network.call(owner, subscription.remote, "report", [report])) as Result<ReportAnswer>,
      log: () => undefined,
    };
  }

  /** As the dispatcher asks: the priority is looked up once. */
  private sharing(owner: Owner, call: DispatchCall): Dispatching["share"] {
    const { counts, paces } = this.parts;
    const { remote } = this.object("capacity", call.generation);
    let priority: Promise<number> | undefined;
    return async (asked) => {
      counts.sharesAsked += 1;
      const askedAt = this.agenda.now;
      priority ??= this.priorityOf(owner, call);
      const share = { partition: call.partition, priority: await priority, ...asked };
      const answer = (await this.network.call(owner, remote, "share", [share])) as Result<ShareAnswer>;
      paces.answered(call.lease.leaseId, asked, askedAt, this.agenda.now);
      return answer;
    };
  }

  private async priorityOf(owner: Owner, { topic, partition }: DispatchCall): Promise<number> {
    const found = await this.catalogFor(owner).store.topic(topic);
    return (found.ok ? priorityShown(found.value, partition).priority : undefined) ?? DEFAULT_PRIORITY;
  }

  private dispatching(owner: Owner, call: DispatchCall, carrying: Carrying): Dispatching {
    const { agenda } = this;
    return {
      ...carrying,
      local: true,
      secretsKeys: [],
      ledger: this.countingLedger(owner),
      fetch: this.endpoint(call.generation).fetchFor(owner, call),
      timeout: (ms) => {
        const abort = new AbortController();
        agenda.after(ms, owner, "timeout", () => abort.abort());
        return abort.signal;
      },
      reply: () => Promise.reject(new Error("nobody asks in a world")),
      share: this.sharing(owner, call),
      topicRetentionMs: async () => {
        const topic = await this.catalogFor(owner).store.topic(call.topic);
        return topic.ok ? topic.value.settings.retentionMs : undefined;
      },
      // The object has paused itself by the report; that the catalog hears of it is proven elsewhere.
      endpointGone: () => undefined,
    };
  }
}

/** A callback lives as long as the instance that made it, and a call of it is not doubled: it is part of another call. */
function beginOf(live: Live, begin: Begin): Remote {
  return {
    ...{ name: live.object.name, once: true },
    receive: (_, __, reply) => {
      if (!live.alive) reply.fail(new Error("The object was reset."));
      else void begin().then((isFirst) => reply.answer(isFirst));
    },
  };
}

/**
 * Puts a world's timers and a synchronous digest in place of the global ones, and silences the console: the modules
 * then run in virtual time only. Answers what puts everything back.
 */
export function takeOverGlobals({ startTimer, stopTimer }: Agenda): () => void {
  const quiet = () => undefined;
  const digest = async (_: unknown, bytes: Uint8Array) =>
    new Uint8Array(createHash("sha256").update(bytes).digest()).buffer;
  const undo = [
    replace(globalThis, "setTimeout", startTimer),
    replace(globalThis, "clearTimeout", stopTimer),
    replace(console, "warn", quiet),
    replace(console, "error", quiet),
    replace(crypto.subtle, "digest", digest),
  ];
  return () => {
    for (const each of undo) each();
  };
}

function replace(holder: object, name: string, value: unknown): () => void {
  const held = Object.getOwnPropertyDescriptor(holder, name);
  Object.defineProperty(holder, name, { value, configurable: true, writable: true });
  return () => {
    if (held) Object.defineProperty(holder, name, held);
    else Reflect.deleteProperty(holder, name);
  };
}
