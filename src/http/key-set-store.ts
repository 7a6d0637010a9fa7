// The public keys of a subscription: as the isolate remembers them, else from D1.

import { CatalogFault, type CatalogStore } from "../catalog/catalog-store";
import { keysOf, schemesOf } from "../endpoint-secrets";
import { ok, type Result, refuse } from "../errors";
import type { Broker } from "./broker";
import { KeyShelf, type PublicKey } from "./key-shelf";
import { MissBudget } from "./miss-budget";

type Remembered = Readonly<{ shelf: KeyShelf; misses: MissBudget }>;
const remembered = new WeakMap<CatalogStore, Remembered>();

/**
 * The public keys that sign for the subscription of this generation; none when there are none. Refused when `address` made up too
 * many names. Throws while D1 is away.
 */
export async function publicKeysOf(
  broker: Broker,
  generation: string,
  address: string | null,
): Promise<Result<readonly PublicKey[]>> {
  const { catalog, runtime } = broker;
  const { shelf, misses } = rememberedOf(catalog.store);
  const now = runtime.now();
  const known = shelf.fresh(generation, now);
  const retryAfterMs = known ? 0 : misses.take(address, now);
  if (retryAfterMs > 0)
    return refuse("too-many-requests", "Too many made-up names of keys.", { retryAfterMs });
  const keys = known ?? (await read(broker, shelf, generation));
  if (!known && keys.length > 0) misses.giveBack(address, now);
  return ok(keys.filter(({ expiresAt = Number.POSITIVE_INFINITY }) => now < expiresAt));
}

async function read(
  { catalog, runtime }: Broker,
  shelf: KeyShelf,
  generation: string,
): Promise<readonly PublicKey[]> {
  const readAt = runtime.now();
  try {
    const held = await catalog.store.entries.activeSubscription(generation);
    const push = held?.settings.push;
    const keys = push ? keysOf(push).filter(({ scheme }) => schemesOf(push).includes(scheme)) : [];
    const shown = keys.flatMap(({ secret: _, ...key }) => (key.publicKey === undefined ? [] : [key]));
    shelf.keep(generation, shown, readAt);
    return shown;
  } catch (fault) {
    const stale = fault instanceof CatalogFault ? shelf.stale(generation, readAt) : undefined;
    if (stale) return stale;
    throw fault;
  }
}

function rememberedOf(store: CatalogStore): Remembered {
  const held = remembered.get(store) ?? { shelf: new KeyShelf(), misses: new MissBudget() };
  remembered.set(store, held);
  return held;
}
