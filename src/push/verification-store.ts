// Has an endpoint verified, and writes down in the catalog what came of it, which gives it to every partition. Between the
// question and the answer the endpoint may have been changed: then the answer counts for nothing.

import type { Catalog } from "../catalog/entry-lifecycle";
import { changePush } from "../catalog/subscription-lifecycle";
import { askedAnew, type Grant, isSameAsk, isUnverified, noteTry } from "../endpoint-verification";
import { ok, type Result, refuse } from "../errors";
import type { VerifyCall } from "../verify-calls";
import type { Asked } from "./verifying";

/** Asks the endpoint of a subscription with `ask`. What is verified is not asked again. Refused when there is nothing to ask. */
export async function verifyEndpoint(
  catalog: Catalog,
  { generation, by }: VerifyCall,
  ask: (asked: Asked) => Promise<Grant>,
): Promise<Result<null>> {
  const entry = await catalog.store.entries.activeSubscription(generation);
  const push = entry?.settings.push;
  if (!entry) return refuse("gone", "This generation of the subscription is not there.");
  if (!push?.verification) return refuse("conflict", "Nobody asks for its endpoint to be verified.");
  if (!isUnverified(push)) return ok(null);
  const { topic, name: subscription, settings } = entry;
  const { verification } = push;
  const grant = await ask({ topic, subscription, generation, settings, push, verification });
  const changed = await changePush(by ? { ...catalog, by } : catalog, entry, async (held, heldGeneration) => {
    if (heldGeneration !== generation || !held.verification || !isSameAsk(held, push)) return anotherOne();
    const now = catalog.runtime.now();
    const round = by ? askedAnew(held.verification, now) : held.verification;
    return ok({ ...held, verification: noteTry(round, grant, now) });
  });
  return changed.ok ? ok(null) : changed;
}

function anotherOne() {
  return refuse("conflict", "The endpoint was changed while it was asked.");
}
