// The public keys of a subscription: as the isolate remembers them, else from D1.

import { CatalogFault, type CatalogStore } from "../catalog/catalog-store";
import { keysOf, schemesOf } from "../endpoint-secrets";
import type { Broker } from "./broker";
import { KeyShelf, type PublicKey } from "./key-shelf";

const shelves = new WeakMap<CatalogStore, KeyShelf>();

/** The public keys that sign for the subscription of this generation; none when there are none. Throws while D1 is away. */
export async function publicKeysOf(broker: Broker, generation: string): Promise<readonly PublicKey[]> {
  const { catalog, runtime } = broker;
  const shelf = shelfOf(catalog.store);
  const now = runtime.now();
  const keys = shelf.fresh(generation, now) ?? (await read(broker, shelf, generation));
  return keys.filter(({ expiresAt = Number.POSITIVE_INFINITY }) => now < expiresAt);
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

function shelfOf(store: CatalogStore): KeyShelf {
  const shelf = shelves.get(store) ?? new KeyShelf();
  shelves.set(store, shelf);
  return shelf;
}
