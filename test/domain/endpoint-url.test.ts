// Which URLs may be an endpoint: a table of tricks, each with where it is allowed.

import { describe, expect, it } from "vitest";
import { checkEndpointUrl } from "../../src/endpoint-url";
import { limits } from "../../src/limits";

// What each URL may be: allowed in a deployment, in local development only, or nowhere.
const everywhere = [
  "https://example.com",
  "https://example.com/hooks?key=1#part",
  "https://hooks.example.com:8443/a/b",
  "https://EXAMPLE.com./x",
  "https://xn--bcher-kva.example/",
  "https://bücher.example/",
  "https://localhost.example.com/",
  "https://internal.example.com/",
  "https://10.example.com/",
];
const localOnly = [
  "http://example.com/",
  "http://localhost:3000/hooks",
  "https://localhost/hooks",
  "http://LOCALHOST.:3000/",
  "http://app.localhost:3000/",
  "http://127.0.0.1:9999/",
  "http://127.1/",
  "http://2130706433/",
  "http://0x7f000001/",
  "http://0177.0.0.1/",
  "http://[::1]:3000/",
  "http://[0:0:0:0:0:0:0:1]/",
  "https://8.8.8.8/",
  "https://example.com:22/",
];
const nowhere = [
  "",
  "example.com/hooks",
  "/hooks",
  "//example.com/hooks",
  "https://",
  "https://exa mple.com/",
  "ftp://example.com/",
  "file:///etc/passwd",
  "javascript:alert(1)",
  "data:text/plain,x",
  "wss://example.com/",
  "https://user@example.com/",
  "https://user:secret@example.com/",
  "https://:secret@example.com/",
  "https://10.0.0.1/",
  "https://10.1/",
  "https://167772161/",
  "https://0xA.0.0.1/",
  "https://012.0.0.1/",
  "https://172.16.0.1/",
  "https://172.31.255.255/",
  "https://192.168.1.1/",
  "https://100.64.0.1/",
  "https://169.254.169.254/latest/meta-data/",
  "https://0.0.0.0/",
  "https://255.255.255.255/",
  "https://224.0.0.1/",
  "https://198.18.0.1/",
  "https://[::]/",
  "https://[fd00::1]/",
  "https://[fe80::1]/",
  "https://[::ffff:127.0.0.1]/",
  "https://[::ffff:10.0.0.1]/",
  "https://[2606:4700::1111]/",
  "https://metadata.google.internal/computeMetadata/v1/",
  "https://METADATA.google.INTERNAL./",
  "https://metadata/",
  "https://intranet/",
  "https://printer.local/",
  "https://db.corp/",
  "https://router.home.arpa/",
  "https://nas.lan/",
  "https://10.0.0.1.nip.io/",
  "https://app.localtest.me/",
  "https://example.com:0/",
];

const isAllowed = (url: string, local: boolean) => checkEndpointUrl(url, { local }) === undefined;

describe("an endpoint's URL", () => {
  it.each(everywhere)("may be %s", (url) => {
    expect([isAllowed(url, false), isAllowed(url, true)]).toEqual([true, true]);
  });

  it.each(localOnly)("may be %s in local development only", (url) => {
    expect([isAllowed(url, false), isAllowed(url, true)]).toEqual([false, true]);
  });

  it.each(nowhere)("may never be %s", (url) => {
    expect([isAllowed(url, false), isAllowed(url, true)]).toEqual([false, false]);
  });

  it("is as long as the limit and no longer", () => {
    const base = "https://example.com/";
    const longest = base + "a".repeat(limits.urlLength - base.length);
    expect(checkEndpointUrl(longest, { local: false })).toBeUndefined();
    expect(checkEndpointUrl(`${longest}a`, { local: false })).toMatchObject({
      code: "invalid-request",
      field: "endpoint.url",
      limit: limits.urlLength,
    });
  });

  it("is refused without being quoted, since it may hold a secret", () => {
    const refusal = checkEndpointUrl("https://user:hunter2@10.0.0.1/?token=hunter2", { local: false });
    expect(JSON.stringify(refusal)).not.toContain("hunter2");
  });
});
