// The sweep's step while SECRETS_KEY is being exchanged: what is sealed under an older key, and what is plain from before
// secrets were sealed, is sealed under the newest. It runs only while older keys are configured, so that the catalog is not
// searched each minute for ever; once it finds nothing, the older keys can be taken away.

import { settings } from "../env";
import { limits } from "../limits";
import { sealPush } from "../sealed-push";
import { keyringOf } from "../sealing";
import { sameSettings } from "./catalog-entry";
import { type Catalog, configure } from "./entry-lifecycle";

/** Seals anew what a bounded number of subscriptions hold, and says how many they were. */
export async function resealOld(catalog: Catalog): Promise<number> {
  const { secretsKeys } = settings(catalog.env);
  if (secretsKeys.length < 2) return 0;
  const keyring = await keyringOf(secretsKeys);
  const older = [...keyring.byId.keys()].filter((id) => id !== keyring.newest.id);
  const { entries, sweep } = catalog.store;
  let resealed = 0;
  for (const held of await sweep.sealedUnder(older, limits.sweepReseals)) {
    // To the end of the line, so that one whose secrets do not open holds up no other.
    await sweep.noteTried(held);
    const { push } = held.settings;
    if (push === undefined) continue;
    const settings = { ...held.settings, push: await sealPush(push, keyring, held.generation) };
    if (sameSettings(settings, held.settings)) continue;
    // Undefined when somebody else was faster: they have sealed it as well.
    const entry = await entries.changeSettings(held, settings);
    if (entry === undefined) continue;
    await configure(catalog, entry);
    resealed += 1;
  }
  return resealed;
}
