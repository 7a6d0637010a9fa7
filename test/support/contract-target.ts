// The broker that the contract's tests are run against: the Worker itself when they run in workerd, else
// whatever PENNYPOST_URL and PENNYPOST_TOKEN name.

import { afterAll, vi } from "vitest";
import { type Client, contractClient } from "./contract-client";

/** A busy machine may be slow to answer; what never comes fails sooner than this. */
const TEST_TIMEOUT_MS = 30_000;

/** A client of the broker under test. */
export async function brokerUnderTest(): Promise<Client> {
  vi.setConfig({ testTimeout: TEST_TIMEOUT_MS });
  const inWorkerd = "WebSocketPair" in globalThis;
  const { target } = inWorkerd ? await import("./contract-in-workerd") : await import("./contract-by-url");
  const client = contractClient(target());
  afterAll(client.leave);
  return client;
}
