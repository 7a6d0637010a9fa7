// The Worker's API for the route tests: called directly in workerd, as the root unless said otherwise.

import { exports } from "cloudflare:workers";
import { contractClient, type Target } from "./contract-client";

export const ORIGIN = "https://pennypost.example";
export const ROOT_TOKEN = "test-root-token-0123456789";

const worker = (exports as unknown as { default: { fetch: typeof fetch } }).default;

/** Calls the Worker with any request. */
export function callWorker(path: string, init: RequestInit = {}): Promise<Response> {
  return worker.fetch(`${ORIGIN}${path}`, init);
}

const target: Target = {
  token: ROOT_TOKEN,
  fetch: callWorker,
  socket: () => Promise.reject(new Error("route tests open no sockets")),
  receiver: () => Promise.reject(new Error("route tests receive no webhooks")),
};

export const api = contractClient(target);

/** A new token with these scopes. */
export async function tokenFor(...scopes: { verb: string; topics: string }[]): Promise<string> {
  const { token } = await api.call<{ token: string }>("POST", "/v1/tokens", {
    json: { name: "test", scopes },
  });
  return token;
}
