// Endpoints' URLs against a table of tricks, and against every notation of every address. Nothing is requested.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checkEndpointUrl } from "../../src/endpoint-url";
import { limits } from "../../src/limits";
import { hostileUrls, legitimateUrls } from "../support/hostile-urls";

const deployed = { local: false };
const refused = (url: string, rules: Parameters<typeof checkEndpointUrl>[1] = deployed) =>
  checkEndpointUrl(url, rules) !== undefined;
/** Readable in a failure, also when it holds controls. */
const shown = (url: string) => JSON.stringify(url.slice(0, 120));

describe("a deployed broker", () => {
  it("was asked about at least 200 hostile URLs, each once", () => {
    const urls = hostileUrls.flatMap(({ urls }) => urls);
    expect(urls.length).toBeGreaterThanOrEqual(200);
    expect(urls.length - new Set(urls).size).toBe(0);
  });

  it.each(hostileUrls.map(({ trick, why, urls }) => [trick, why, urls] as const))(
    "takes no URL with %s: %s",
    (_trick, _why, urls) => {
      expect(urls.filter((url) => !refused(url)).map(shown)).toEqual([]);
    },
  );

  it.each(legitimateUrls)("takes %s: %s", (url) => {
    expect(checkEndpointUrl(url, deployed)).toBeUndefined();
  });

  it("names the field that it is asked about, and no more of a URL than its host", () => {
    for (const url of hostileUrls.flatMap(({ urls }) => urls)) {
      const refusal = checkEndpointUrl(`${url}?key=hunter2`, { local: false, field: "auth.tokenUrl" });
      expect(refusal).toMatchObject({ code: "invalid-request", field: "auth.tokenUrl" });
      expect(JSON.stringify(refusal)).not.toMatch(/hunter2|secret/);
    }
  });
});

describe("an address", () => {
  const octets = fc.tuple(...[0, 1, 2, 3].map(() => fc.integer({ min: 0, max: 255 })));
  const inBase = (value: number, base: number) =>
    base === 16 ? `0x${value.toString(16)}` : base === 8 ? `0${value.toString(8)}` : String(value);
  const notation = fc
    .tuple(octets, fc.integer({ min: 1, max: 4 }), fc.array(fc.constantFrom(8, 10, 16), { minLength: 4 }))
    .map(([bytes, parts, bases]) => {
      const head = bytes.slice(0, parts - 1);
      const tail = bytes.slice(parts - 1).reduce((sum, byte) => sum * 256 + byte, 0);
      return [...head, tail].map((part, index) => inBase(part, bases[index] ?? 10)).join(".");
    });

  it("is refused in every notation of IPv4", () => {
    fc.assert(
      fc.property(notation, (address) => refused(`https://${address}/`)),
      { numRuns: 2_000 },
    );
  });

  it("is refused as IPv6, alone or around an IPv4 address", () => {
    const words = fc.array(fc.integer({ min: 0, max: 0xffff }), { minLength: 8, maxLength: 8 });
    fc.assert(
      fc.property(words, octets, (eight, four) => {
        const plain = eight.map((word) => word.toString(16)).join(":");
        const mixed = ["::", "::ffff:", "64:ff9b::"].map((prefix) => prefix + four.join("."));
        return [plain, ...mixed].every((address) => refused(`https://[${address}]/`));
      }),
      { numRuns: 500 },
    );
  });
});

describe("what is taken", () => {
  it("is an https URL of a spelled-out public name, whatever it is made from", () => {
    const piece = fc.constantFrom(
      ...["https", "http", ":", "//", "/", "\\", "@", "#", "?", "%2e", "%00", ".", "..", "-", "[", "]"],
      ...["localhost", "127", "0", "1", "0x7f", "example", "com", "nip.io", "internal", "\u3002", "\uff11"],
      ...["\t", "\u00ad", "::1", "443", "80", "\u24d4"],
    );
    const glued = fc.array(piece, { maxLength: 8 }).map((pieces) => pieces.join(""));
    const url = fc.oneof(
      glued,
      glued.map((text) => `https://${text}`),
    );
    fc.assert(
      fc.property(url, (text) => {
        if (refused(text)) return;
        const { protocol, hostname, username } = new URL(text);
        const host = hostname.replace(/\.$/, "");
        expect([protocol, username]).toEqual(["https:", ""]);
        expect(text.toLowerCase()).toContain(`//${hostname}`);
        expect(host).toMatch(/^[a-z0-9-]+(\.[a-z0-9-]+)+$/);
        expect(host).not.toMatch(/(^|\.)(localhost|internal|nip\.io)$|^[\d.]+$/);
      }),
      { numRuns: 20_000 },
    );
  });
});

describe("the broker's own hosts", () => {
  const ownHosts = ["broker.example.com", "*.brokers.example.org"];

  it.each([
    "https://broker.example.com/v1/in/x",
    "https://BROKER.example.com./v1/topics",
    "https://broker.example.com:8443/",
    "https://eu.brokers.example.org/",
    "https://a.b.brokers.example.org/",
  ])("are no endpoint: %s", (url) => {
    expect([refused(url), refused(url, { local: false, ownHosts })]).toEqual([false, true]);
  });

  it.each([
    "https://example.com/",
    "https://mybroker.example.com/",
    "https://x.broker.example.com/",
    "https://brokers.example.org/",
    "https://evilbrokers.example.org/",
  ])("are not %s", (url) => {
    expect(refused(url, { local: false, ownHosts })).toBe(false);
  });
});

describe("local development", () => {
  it("reaches this machine over http, and no other private place", () => {
    const local = { local: true };
    expect(
      ["http://127.0.0.1:9999/x", "http://localhost:3000", "http://[::1]:1/"].filter((u) =>
        refused(u, local),
      ),
    ).toEqual([]);
    const inside = hostileUrls.filter(({ trick }) => /metadata|credentials|skip/.test(trick));
    const taken = inside
      .flatMap(({ urls }) => urls)
      .filter((url) => /^https:/i.test(url) && !refused(url, local));
    expect(taken).toEqual([]);
  });

  it("counts a URL's length as it is sent", () => {
    const url = `https://example.com/${"\u00e9".repeat(400)}`;
    expect(checkEndpointUrl(url, { local: true })).toMatchObject({ limit: limits.urlLength });
  });
});
