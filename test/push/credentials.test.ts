// What an endpoint is shown to let a request in, and what becomes of deliveries when that cannot be had: secrets that do
// not open, and token endpoints that fail. Nothing of it costs an attempt, for nothing was sent.
import { describe, expect, it } from "vitest";
import type { EndpointAuth } from "../../src/endpoint-secrets";
import { newVerification } from "../../src/endpoint-verification";
import { limits } from "../../src/limits";
import { sealPush } from "../../src/sealed-push";
import { keyringOf } from "../../src/sealing";
import { type Asked, type Posted, SECRET, World } from "./dispatch-world";

const KEY = "one-secrets-key-0123456789abcdefgh";
const TOKEN_URL = "https://id.example.com/token";
const several = (count: number) => Array.from({ length: count }, () => ({}));
const oauth2: EndpointAuth = {
  ...{ type: "oauth2", tokenUrl: TOKEN_URL, clientId: "pennypost", clientAuthentication: "header" },
  secret: { plain: "hunter2" },
};
const withOauth = (count: number, more: Partial<Asked> = {}): Asked => ({
  ...{ messages: several(count), push: { auth: oauth2 } },
  ...more,
});
const authorizations = (world: World) => webhooks(world).map(({ headers }) => headers.get("authorization"));
const webhooks = (world: World) => world.sent.filter(({ url }) => url !== TOKEN_URL);
const tokenRequests = (world: World) => world.sent.filter(({ url }) => url === TOKEN_URL);
const granting = (text: string, expires_in = 3_600) =>
  Response.json({ access_token: text, token_type: "Bearer", expires_in });

/** Grants `token-1`, `token-2` and so on; the endpoint takes whatever `takes` says. */
function worldGranting(
  takes: (authorization: string | null) => boolean = () => true,
  expiresIn?: number,
): World {
  let granted = 0;
  return new World(({ url, headers }: Posted) => {
    if (url === TOKEN_URL) return granting(`token-${++granted}`, expiresIn);
    return new Response(null, { status: takes(headers.get("authorization")) ? 204 : 401 });
  });
}

describe("sealed secrets", () => {
  async function sealed(world: World, keys: readonly string[]): Promise<Asked> {
    const auth: EndpointAuth = { type: "basic", username: "bob", secret: { plain: "hunter2" } };
    const { push } = world.callOf({ messages: [], push: { headers: { "x-api-key": "k" }, auth } }).settings;
    if (!push) throw new Error("not a push subscription");
    return { messages: [{}], push: await sealPush(push, await keyringOf(keys), world.generation) };
  }

  it("are opened for the request, and a secret that is rotated signs beside the new one", async () => {
    const world = new World();
    world.secretsKeys = [KEY];
    const asked = await sealed(world, [KEY]);
    const old = { scheme: "v1", secret: { plain: SECRET }, expiresAt: world.now + 1_000 } as const;
    const keys = [...(asked.push?.signingKeys ?? []), old];
    // What sealing took out of `push` is not to come back from the defaults.
    const push = { ...asked.push, secrets: [], signingKeys: keys };
    await world.dispatch({ ...asked, push });
    world.now += 1_000;
    await world.dispatch({ ...asked, push });
    const [during, after] = world.sent.map(({ headers }) => headers);
    expect(during?.get("authorization")).toBe(`Basic ${btoa("bob:hunter2")}`);
    expect(during?.get("x-api-key")).toBe("k");
    expect(during?.get("webhook-signature")?.split(" ")).toHaveLength(2);
    expect(after?.get("webhook-signature")?.split(" ")).toHaveLength(1);
  });

  it.each([
    ["no key is configured", []],
    ["another key is configured", ["two-secrets-key-0123456789abcdefgh"]],
  ])("wait un-attempted, with the reason, while %s", async (_, keys) => {
    const world = new World();
    world.secretsKeys = keys;
    await world.dispatch(await sealed(world, [KEY]));
    expect(world.sent).toEqual([]);
    expect(world.outcomes.get(0)).toMatchObject({ result: "unsent", delayMs: limits.sealedAwayMs });
    expect(JSON.stringify(world.reports)).toMatch(/its secrets cannot be opened/);
    expect(JSON.stringify([world.reports, world.lines])).not.toContain("hunter2");
  });

  it("that were moved here from another subscription do not open", async () => {
    const [world, other] = [new World(), new World()];
    world.secretsKeys = [KEY];
    await world.dispatch(await sealed(other, [KEY]));
    expect([world.sent.length, world.results]).toEqual([0, [[0, "unsent"]]]);
  });
});

describe("bearer", () => {
  it("wins over no header of the broker's", async () => {
    const world = new World();
    await world.dispatch({ messages: [{}], push: { auth: { type: "bearer", secret: { plain: "t0k" } } } });
    expect(authorizations(world)).toEqual(["Bearer t0k"]);
  });
});

describe("an access token", () => {
  it("is asked for once and used by every request, and by later dispatches until shortly before its end", async () => {
    const world = worldGranting(() => true, 600);
    await world.dispatch(withOauth(20));
    await world.dispatch(withOauth(1));
    expect(tokenRequests(world)).toHaveLength(1);
    expect(new Set(authorizations(world))).toEqual(new Set(["Bearer token-1"]));
    world.now += 600_000 - limits.tokenMarginMs;
    await world.dispatch(withOauth(1));
    expect(authorizations(world).at(-1)).toBe("Bearer token-2");
  });

  it("that is refused is exchanged once, within the attempt, however many requests meet it", async () => {
    const world = worldGranting((authorization) => authorization !== "Bearer token-1");
    await world.dispatch(withOauth(6));
    expect(tokenRequests(world)).toHaveLength(2);
    expect(world.results.map(([, result]) => result)).toEqual(Array(6).fill("delivered"));
    expect(authorizations(world).filter((each) => each === "Bearer token-2")).toHaveLength(6);
  });

  it("that is refused although it is fresh fails the attempt", async () => {
    const world = worldGranting(() => false);
    await world.dispatch(withOauth(1));
    expect([tokenRequests(world).length, webhooks(world).length]).toEqual([2, 2]);
    expect(world.outcomes.get(0)).toMatchObject({ result: "failed", note: { status: 401 } });
  });

  it("that cannot be had costs no attempt: everything waits, and the token endpoint is left alone for a while", async () => {
    const world = new World(({ url }) => {
      if (url === TOKEN_URL) return Response.json({ error: "invalid_client" }, { status: 401 });
      return new Response(null, { status: 204 });
    });
    await world.dispatch(withOauth(9));
    await world.dispatch(withOauth(1));
    expect([tokenRequests(world).length, webhooks(world).length]).toEqual([1, 0]);
    const outcomes = [...world.outcomes.values()];
    expect(outcomes.map(({ result }) => result)).toEqual(Array(9).fill("unsent"));
    const told = JSON.stringify([world.reports, world.lines]);
    expect(told).toMatch(/no access token from the token URL: it answered 401, invalid_client/);
    expect(told).not.toMatch(/hunter2|id\.example\.com/);
    world.now += limits.tokenAwayMs;
    await world.dispatch(withOauth(1));
    expect(tokenRequests(world)).toHaveLength(2);
  });

  it("that cannot be had is asked for later and later, and at once as before when it was had", async () => {
    let isAway = true;
    const world = new World(({ url }) => {
      if (url !== TOKEN_URL) return new Response(null, { status: 204 });
      return isAway ? new Response(null, { status: 503 }) : granting("token", 0);
    });
    const waits: unknown[] = [];
    for (let tries = 1; tries <= 6; tries++) {
      await world.dispatch(withOauth(1));
      expect(tokenRequests(world)).toHaveLength(tries);
      const { delayMs } = world.outcomes.get(0) as { delayMs: number };
      waits.push(delayMs / limits.tokenAwayMs);
      world.now += delayMs - 1;
      await world.dispatch(withOauth(1));
      expect(tokenRequests(world)).toHaveLength(tries);
      expect(world.outcomes.get(0)).toMatchObject({ delayMs: 1 });
      world.now += 1;
    }
    const most = limits.tokenAwayMostMs / limits.tokenAwayMs;
    expect(waits).toEqual([1, 2, 4, 8, most, most]);
    isAway = false;
    await world.dispatch(withOauth(1));
    isAway = true;
    await world.dispatch(withOauth(1));
    expect(world.outcomes.get(0)).toMatchObject({ result: "unsent", delayMs: limits.tokenAwayMs });
  });

  it("is waited for only so long", async () => {
    const world = new World(({ url }) =>
      url === TOKEN_URL ? new Promise<never>(() => undefined) : new Response(),
    );
    const startedAt = world.now;
    await world.dispatch(withOauth(1));
    expect([world.results, world.now - startedAt]).toEqual([[[0, "unsent"]], limits.tokenTimeoutMs]);
  });

  it.each([
    ["redirects", () => Response.redirect("https://evil.example.com/", 307)],
    [
      "is longer than it may be",
      () =>
        granting("t", 3_600)
          .text()
          .then((text) => new Response(text + " ".repeat(limits.tokenAnswerBytes))),
    ],
  ])("is not taken from an answer that %s", async (_, answer) => {
    const world = new World(({ url }) => (url === TOKEN_URL ? answer() : new Response()));
    await world.dispatch(withOauth(1));
    expect([webhooks(world).length, tokenRequests(world).map(({ redirect }) => redirect)]).toEqual([
      0,
      ["manual"],
    ]);
  });

  it("is not asked for at a URL that no webhook may go to", async () => {
    const world = new World();
    const auth = { ...oauth2, tokenUrl: "https://169.254.169.254/token" };
    await world.dispatch({ messages: [{}], push: { auth } });
    expect([world.sent.length, world.results]).toEqual([0, [[0, "unsent"]]]);
  });
});

describe("an endpoint that is not verified", () => {
  const verification = newVerification("challenge", "https://broker.example.com", 0);

  it("is sent nothing, and no attempt is counted", async () => {
    const world = new World();
    await world.dispatch({ messages: several(3), push: { verification } });
    expect(world.sent).toEqual([]);
    expect(world.outcomes.get(0)).toMatchObject({ result: "unsent", reason: "the endpoint is not verified" });
    expect(world.results.map(([, result]) => result)).toEqual(["unsent", "unsent", "unsent"]);
  });

  it("that has granted a handshake is told who sends, whatever its own headers say", async () => {
    const world = new World();
    const granted = { ...verification, by: "handshake", verifiedAt: 1 } as const;
    const headers = { "WebHook-Request-Origin": "evil.example.com" };
    await world.dispatch({ messages: [{}], push: { headers, verification: granted } });
    expect(world.sent[0]?.headers.get("webhook-request-origin")).toBe("broker.example.com");
  });
});
