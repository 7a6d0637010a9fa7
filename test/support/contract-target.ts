// The broker that the contract's tests are run against: the Worker itself when they run in workerd, else
// whatever PENNYPOST_URL and PENNYPOST_TOKEN name.

import { afterAll, beforeEach, type TestContext, vi } from "vitest";
import { type Client, contractClient, type Target } from "./contract-client";

/** A busy machine may be slow to answer; what never comes fails sooner than this. */
const TEST_TIMEOUT_MS = 30_000;

/** A client of the broker under test. */
export async function brokerUnderTest(): Promise<Client> {
  vi.setConfig({ testTimeout: TEST_TIMEOUT_MS });
  const inWorkerd = "WebSocketPair" in globalThis;
  const client = contractClient(inWorkerd ? await inProcess() : await byUrl());
  afterAll(client.leave);
  return client;
}

async function inProcess(): Promise<Target> {
  return (await import("./contract-in-workerd")).target();
}

/** Some brokers cannot be asked some questions: such a test is reported as not run, with the reason. */
async function byUrl(): Promise<Target> {
  let current: TestContext;
  beforeEach((context) => {
    current = context;
  });
  return (await import("./contract-by-url")).target((why) => current.skip(why));
}
