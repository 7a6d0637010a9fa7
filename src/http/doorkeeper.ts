// The doorkeeper: the stateless entrypoint that objects ask whether who was let in would be let in today. They know no
// tokens: those are the catalog's.

import { WorkerEntrypoint } from "cloudflare:workers";
import { type Admission, type AdmissionCalls, admissionOf } from "../admission-calls";
import { CatalogStore } from "../catalog/catalog-store";
import type { Env } from "../env";
import { ok, type Result } from "../errors";
import { systemRuntime } from "../runtime";

export class Doorkeeper extends WorkerEntrypoint<Env> implements AdmissionCalls {
  async admitted({ by, token }: Admission): Promise<Result<Admission>> {
    const { tokens } = new CatalogStore(this.env.CATALOG, systemRuntime);
    const found = await (by === "hash" ? tokens.find(token) : tokens.live(token));
    return found.ok ? ok(admissionOf(by, token, found.value.expiresAt)) : found;
  }
}
