// A deployed broker, asked over HTTP to send to where no webhook belongs. Nothing is configured, so nothing is sent.

import { env } from "cloudflare:workers";
import { expect, test } from "vitest";
import { createApp } from "../../src/http/app";
import { ROOT_TOKEN } from "../support/api";
import type { Problem } from "../support/contract-client";
import { hostileUrls } from "../support/hostile-urls";

const app = createApp();
const put = (path: string, url: string, more: object = {}) =>
  app.request(
    `https://broker.example.com${path}`,
    {
      method: "PUT",
      headers: { authorization: `Bearer ${ROOT_TOKEN}`, "content-type": "application/json" },
      body: JSON.stringify({ type: "push", endpoint: { url } }),
    },
    { ...env, ENVIRONMENT: "production", ...more },
  );

const places = ["/v1/queues/hostile", "/v1/topics/hostile/subscriptions/s"];

test.each(places)("PUT %s takes none of the hostile URLs, and says which field it is", async (path) => {
  const taken: string[] = [];
  for (const { urls } of hostileUrls) {
    const [url = ""] = urls;
    const response = await put(path, url);
    const { field } = await response.json<Problem>();
    if (response.status !== 400 || field !== "endpoint.url") taken.push(JSON.stringify(url));
  }
  expect(taken).toEqual([]);
});

test.each(places)("PUT %s takes neither the host that it came to, nor a configured one", async (path) => {
  const OWN_HOSTS = "Hooks.example.com, *.example.org";
  for (const host of ["broker.example.com", "hooks.example.com", "eu.example.org"]) {
    const response = await put(path, `https://${host}/v1/in/x`, { OWN_HOSTS });
    expect([response.status, (await response.json<Problem>()).detail]).toEqual([
      400,
      expect.stringContaining("broker itself"),
    ]);
  }
});

test("a list of own hosts that cannot be read is refused as a whole", async () => {
  const response = await put("/v1/queues/hostile", "https://example.com/", {
    OWN_HOSTS: "https://x.example/",
  });
  expect([response.status, (await response.json<Problem>()).detail]).toEqual([
    503,
    expect.stringContaining("OWN_HOSTS"),
  ]);
});
