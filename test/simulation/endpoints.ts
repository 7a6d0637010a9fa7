// The webhook endpoints: each has moods, and answers a request with 2xx, an error, `Retry-After`, late, never, or by a
// connection that breaks, after it processed the messages or before. It remembers what it acknowledged.

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
  | "partly";

const BEHAVIOURS: Readonly<Record<Mood, Readonly<Record<Behaviour, number>>>> = {
  well: always("accept"),
  shaky: {
    ...always("accept", 60),
    ...{ error: 12, retryAfter: 5, hang: 3, late: 6, break: 5, acceptAndBreak: 5, gone: 2, partly: 4 },
  },
  down: { ...always("error", 70), retryAfter: 10, hang: 10, break: 10 },
};

/** One request as an endpoint sees it. */
export type Request = Readonly<{
  subscription: string;
  /** Of the dispatch's claims in the ledger. */
  namespace: string;
  ids: readonly string[];
  owner: Owner;
}>;

export class Endpoint {
  mood: Mood = "well";
  /** Ids that it has answered 2xx for, or means to: what it processed. */
  readonly acknowledged = new Set<string>();

  constructor(
    readonly subscription: string,
    private readonly parts: Readonly<{
      agenda: Agenda;
      network: Network;
      chance: Chance;
      counts: Counts;
      /** Kills the dispatcher that the answer was for. */
      kill: (owner: Owner) => void;
      /** A request leaves for the endpoint. */
      sends: (request: Request) => void;
    }>,
  ) {}

  /** `fetch` as `owner` has it, whose claims are in `namespace`. */
  fetchFor(owner: Owner, namespace: string): (url: string, init: RequestInit) => Promise<Response> {
    return (_, init) => this.request(owner, namespace, init);
  }

  private request(owner: Owner, namespace: string, init: RequestInit): Promise<Response> {
    const { agenda, counts } = this.parts;
    const ids = idsOf(init);
    counts.webhooks += 1;
    this.parts.sends({ subscription: this.subscription, namespace, ids, owner });
    return new Promise((resolve, reject) => {
      const later = (ms: number, what: string, run: () => void) =>
        agenda.after(ms, owner, `webhook ${what}`, run);
      init.signal?.addEventListener("abort", () => reject(named("TimeoutError")));
      this.behave(owner, ids, {
        answer: (ms, response) => later(ms, "answer", () => resolve(response)),
        breakOff: (ms) => later(ms, "breaks", () => reject(new Error("Network connection lost."))),
      });
    });
  }

  private behave(
    owner: Owner,
    ids: readonly string[],
    { answer, breakOff }: { answer(ms: number, response: Response): void; breakOff(ms: number): void },
  ): void {
    const { chance, counts, network } = this.parts;
    const behaviour = chance.weighted(BEHAVIOURS[network.faults.on ? this.mood : "well"]);
    const soon = chance.below(30);
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
  };
  return { ...none, [behaviour]: weight };
}

/** The message ids in a request: of one message its `webhook-id`, of a batch those in its body. */
function idsOf({ headers, body }: RequestInit): string[] {
  const { "webhook-id": id = "", "content-type": contentType } = headers as Record<string, string>;
  if (!id.startsWith("batch_")) return [id];
  if (contentType?.includes("json") !== true) throw new Error(`a batch came as ${contentType}`);
  const { messages } = JSON.parse(new TextDecoder().decode(body as Uint8Array)) as {
    messages: { id: string }[];
  };
  return messages.map((message) => message.id);
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
