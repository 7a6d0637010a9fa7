// The URL by which an endpoint may grant a handshake later holds a token that is sealed: nobody can make one up, it says
// nothing to whoever reads it, and nothing of it is stored. It is good for one URL of one subscription, and for a while.

import type { Verification } from "./endpoint-verification";
import { urlSafe } from "./message-json";
import { keyringOf, open, SealFault, seal } from "./sealing";

export type Callback = Readonly<{
  generation: string;
  /** When the URL was set that it is about. */
  since: Verification["since"];
  until: number;
}>;

const PLACE = "verification callback";
/** As `callbackText` makes them, with room for a longer generation. */
export const CALLBACK_FORM = /^s1\.[0-9a-f]{8}\.[A-Za-z0-9_-]{60,400}$/;

/** The token for `callback`. Throws when no key is set. */
export async function callbackText(callback: Callback, secretsKeys: readonly string[]): Promise<string> {
  const { generation, since, until } = callback;
  const sealed = await seal(await keyringOf(secretsKeys), PLACE, JSON.stringify([generation, since, until]));
  return urlSafe(sealed);
}

/** What a token that was made here says; undefined when it was not, or its time is over. In constant time: AES-GCM's tag. */
export async function readCallback(
  text: string,
  secretsKeys: readonly string[],
  now: number,
): Promise<Callback | undefined> {
  if (secretsKeys.length === 0 || !CALLBACK_FORM.test(text)) return undefined;
  const sealed = text.replaceAll("-", "+").replaceAll("_", "/");
  try {
    const said = JSON.parse(await open(await keyringOf(secretsKeys), PLACE, sealed)) as [
      string,
      number,
      number,
    ];
    const [generation, since, until] = said;
    return now < until ? { generation, since, until } : undefined;
  } catch (fault) {
    if (fault instanceof SealFault) return undefined;
    throw fault;
  }
}
