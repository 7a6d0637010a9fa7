// What the routes work with: the bindings, the stores and the settings, made once per isolate.

import { CatalogStore } from "../catalog/catalog-store";
import type { Catalog } from "../catalog/entry-lifecycle";
import { hostOfUrl } from "../endpoint-url";
import type { VerificationChoice } from "../endpoint-verification";
import { type Env, settings } from "../env";
import { ok, type Result, refuse } from "../errors";
import { LedgerStore } from "../ledger/ledger-store";
import type { Runtime } from "../runtime";
import type { EndpointRules } from "./endpoint-schemas";

export type Broker = Readonly<{
  env: Env;
  runtime: Runtime;
  catalog: Catalog;
  ledger: LedgerStore;
  rootToken: string;
  /** What the secrets of endpoints are sealed under, the newest first. Empty: nothing can be pushed. */
  secretsKeys: readonly string[];
  local: boolean;
  log: boolean;
  /** Hosts that are known to lead to this broker. */
  ownHosts: readonly string[];
  /** How endpoints are verified that do not say; only with `none` may one say `none`. */
  verification: VerificationChoice;
}>;

const brokers = new WeakMap<Env, Result<Broker>>();

/** The broker of these bindings. Refused, saying what to set, while it is not configured. */
export function brokerOf(env: Env, runtime: Runtime): Result<Broker> {
  const held = brokers.get(env);
  if (held) return held;
  const broker = openBroker(env, runtime);
  brokers.set(env, broker);
  return broker;
}

/** What the endpoints of a request are held to: the host that it came to is the broker's own, whatever is configured. */
export function urlRules({ local, ownHosts, verification }: Broker, request: Request): EndpointRules {
  return { local, ownHosts: [...ownHosts, hostOfUrl(request.url)], verification };
}

function openBroker(env: Env, runtime: Runtime): Result<Broker> {
  try {
    const { rootToken, ...configured } = settings(env);
    if (rootToken === undefined) {
      return refuse("not-configured", "Set the secret ROOT_TOKEN: `npx wrangler secret put ROOT_TOKEN`.");
    }
    const store = new CatalogStore(env.CATALOG, runtime);
    const ledger = new LedgerStore(env.LEDGER, runtime);
    const catalog = { env, store, runtime };
    return ok({ env, runtime, catalog, ledger, rootToken, ...configured });
  } catch (fault) {
    return refuse("not-configured", fault instanceof Error ? fault.message : String(fault));
  }
}
