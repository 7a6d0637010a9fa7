// The webhook endpoints: each has moods, and answers a request with 2xx, an error, `Retry-After`, late, never, or by a
// connection that breaks, after it processed the messages or before. It remembers what it acknowledged.

import type { DispatchCall } from "../../src/dispatch-calls";
import { pushNamespace } from "../../src/ledger/claim";
import type { Agenda, Owner } from "./agenda";
import type { Chance } from "./chance";
import type { Counts } from "./coverage";
import type { Network } from "./network";

type Mood = "well" | "shaky" | "down";
type Behaviour =
  | "accept"
  | "error"
  | "retryAfter"
  | "hang"
  | "late"
  | "break"
  | "acceptAndBreak"
  | "gone"
  | "partly"
  | "takeOn";

const BEHAVIOURS: Readonly<Record<Mood, Readonly<Record<Behaviour, number>>>> = {
  well: always("accept"),
  shaky: {
    ...always("accept", 60),
    ...{
      error: 12,
      retryAfter: 5,
      hang: 3,
      late: 6,
      break: 5,
      acceptAndBreak: 5,
      gone: 2,
      partly: 4,
      takeOn: 5,
    },
  },
  down: { ...always("error", 70), retryAfter: 10, hang: 10, break: 10 },
};

/** One request as an endpoint sees it. */
export type Request = Readonly<{
  /** What is dispatched with it. */
  call: DispatchCall;
  /** Of the dispatch's claims in the ledger. */
  namespace: string;
  ids: readonly string[];
  owner: Owner;
}>;

/** A message that its receiver answered 202 for, with what completes it. */
export type HandedOver = Readonly<{
  subscription: string;
  generation: string;
  namespace: string;
  id: string;
  claim: string;
  fence: number;
  leaseMs: number;
}>;

type Sent = Readonly<{ id: string; claim: string | undefined }>;

type Reactions = Readonly<{
  answer(ms: number, response: Response): void;
  breakOff(ms: number): void;
  takeOn(leaseMs: number): void;
}>;

export class Endpoint {
  mood: Mood = "well";
  /** Ids that it has answered 2xx for, or means to: what it processed. */
  readonly acknowledged = new Set<string>();

  constructor(
    readonly generation: string,
    private readonly parts: Readonly<{
      agenda: Agenda;
      network: Network;
      chance: Chance;
      counts: Counts;
      /** Kills the dispatcher that the answer was for. */
      kill: (owner: Owner) => void;
      /** A request leaves for the endpoint. */
      sends: (request: Request) => void;
      /** It is under way no more. */
      ended: (request: Request) => void;
      /** It answers within this, when it answers soon. */
      soonMs: number;
      /** How likely a request that carries claims is answered 202. */
      takesOn: number;
      receive: (handed: HandedOver) => void;
    }>,
  ) {}

  /** `fetch` as `owner` has it, for one dispatch. */
  fetchFor(owner: Owner, call: DispatchCall): (url: string, init: RequestInit) => Promise<Response> {
    return (_, init) => this.request(owner, call, init);
  }

  private request(owner: Owner, call: DispatchCall, init: RequestInit): Promise<Response> {
    const { agenda, counts } = this.parts;
    const sent = sentIn(init);
    const namespace = pushNamespace(call.generation, call.partition, call.replay);
    counts.webhooks += 1;
    const request = { call, namespace, ids: sent.map(({ id }) => id), owner };
    this.parts.sends(request);
    return new Promise<Response>((...settle) => {
      const [resolve, reject] = settle.map((say) => (what: unknown) => {
        this.parts.ended(request);
        say(what as Response);
      }) as [(response: Response) => void, (fault: Error) => void];
      const later = (ms: number, what: string, run: () => void) =>
        agenda.after(ms, owner, `webhook ${what}`, run);
      init.signal?.addEventListener("abort", () => reject(named("TimeoutError")));
      const takeOn = (leaseMs: number) => {
        for (const { id, claim } of sent) {
          if (claim === undefined) this.acknowledged.add(id);
          else this.parts.receive(handedOver(call, namespace, { id, claim, leaseMs }));
        }
      };
      this.behave(owner, sent, {
        takeOn,
        answer: (ms, response) => later(ms, "answer", () => resolve(response)),
        breakOff: (ms) => later(ms, "breaks", () => reject(new Error("Network connection lost."))),
      });
    });
  }

  private behave(owner: Owner, sent: readonly Sent[], { answer, breakOff, takeOn }: Reactions): void {
    const { chance, counts, network } = this.parts;
    const ids = sent.map(({ id }) => id);
    const takesOn = network.faults.on && this.mood !== "down" && chance.happens(this.parts.takesOn);
    const mood = BEHAVIOURS[network.faults.on ? this.mood : "well"];
    const behaviour = takesOn ? "takeOn" : chance.weighted(mood);
    const soon = chance.below(this.parts.soonMs);
    const accept = (which: readonly string[]) => {
      for (const id of which) this.acknowledged.add(id);
    };
    const respond = (ms: number, ...of: Parameters<typeof responseOf>) => answer(ms, responseOf(...of));
    const ways: Readonly<Record<Behaviour, () => void>> = {
      accept: () => {
        accept(ids);
        respond(soon, 200);
        if (network.faults.on && chance.happens(0.04)) this.killSoon(owner, soon);
      },
      error: () => {
        counts.endpointErrors += 1;
        respond(soon, chance.pick([400, 404, 500, 503]));
      },
      retryAfter: () => {
        counts.endpointRetryAfter += 1;
        respond(soon, 429, { "retry-after": String(chance.below(20)) });
      },
      hang: () => {
        counts.endpointHangs += 1;
      },
      late: () => {
        counts.endpointLate += 1;
        accept(ids);
        respond(chance.below(12_000), 200);
      },
      break: () => {
        counts.endpointErrors += 1;
        breakOff(soon);
      },
      acceptAndBreak: () => {
        accept(ids);
        breakOff(soon);
      },
      gone: () => {
        counts.endpointGone += 1;
        respond(soon, 410);
      },
      partly: () => {
        const failed = ids.slice(0, ids.length > 1 ? chance.between(1, ids.length - 1) : 0);
        accept(ids.filter((id) => !failed.includes(id)));
        const body = JSON.stringify({ failed: failed.map((id) => ({ id })) });
        respond(soon, 200, { "content-type": "application/json" }, ids.length > 1 ? body : "");
      },
      takeOn: () => {
        const leaseMs = chance.pick([1_000, 5_000, 20_000]);
        takeOn(leaseMs);
        respond(soon, 202, { "pennypost-claim-lease-ms": String(leaseMs) });
        if (network.faults.on && chance.happens(0.04)) this.killSoon(owner, soon);
      },
    };
    ways[behaviour]();
  }

  /** The dispatcher dies about when the answer reaches it. */
  private killSoon(owner: Owner, ms: number): void {
    this.parts.counts.answerThenCrash += 1;
    this.parts.agenda.after(ms, undefined, "crash after 2xx", () => this.parts.kill(owner));
  }
}

function always(behaviour: Behaviour, weight = 1): Record<Behaviour, number> {
  const none = {
    accept: 0,
    error: 0,
    retryAfter: 0,
    hang: 0,
    late: 0,
    break: 0,
    acceptAndBreak: 0,
    gone: 0,
    partly: 0,
    takeOn: 0,
  };
  return { ...none, [behaviour]: weight };
}

/** The messages in a request: of one message its `webhook-id`, of a batch those in its body; each with its claim. */
function sentIn({ headers, body }: RequestInit): Sent[] {
  const { "webhook-id": id = "", "content-type": contentType, ...rest } = headers as Record<string, string>;
  if (!id.startsWith("batch_")) return [{ id, claim: rest["pennypost-claim"] }];
  if (contentType?.includes("json") !== true) throw new Error(`a batch came as ${contentType}`);
  const { messages } = JSON.parse(new TextDecoder().decode(body as Uint8Array)) as {
    messages: { id: string; claim?: string }[];
  };
  return messages.map((message) => ({ id: message.id, claim: message.claim }));
}

function handedOver(
  { subscription, generation }: DispatchCall,
  namespace: string,
  { id, claim, leaseMs }: Readonly<{ id: string; claim: string; leaseMs: number }>,
): HandedOver {
  const fence = Number(claim.split(".")[3]);
  return { subscription, generation, namespace, id, claim, fence, leaseMs };
}

/** As much of a Response as a dispatch looks at: the platform's own would read its body outside the virtual time. */
function responseOf(status: number, headers: Record<string, string> = {}, text = ""): Response {
  const chunks = text === "" ? [] : [new TextEncoder().encode(text)];
  const read = async () => {
    const value = chunks.shift();
    return value === undefined ? { done: true } : { done: false, value };
  };
  const reader = { read, cancel: async () => undefined };
  const ok = status >= 200 && status < 300;
  return {
    status,
    ok,
    headers: new Headers(headers),
    body: { getReader: () => reader },
  } as unknown as Response;
}

function named(name: string): Error {
  const fault = new Error("it took too long");
  fault.name = name;
  return fault;
}
