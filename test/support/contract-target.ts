// The broker that the contract's tests are run against: the Worker itself when they run in workerd, else
// whatever PENNYPOST_URL and PENNYPOST_TOKEN name.

import { type Client, contractClient } from "./contract-client";

/** A client of the broker under test. */
export async function brokerUnderTest(): Promise<Client> {
  const inWorkerd = "WebSocketPair" in globalThis;
  const { target } = inWorkerd ? await import("./contract-in-workerd") : await import("./contract-by-url");
  return contractClient(target());
}
