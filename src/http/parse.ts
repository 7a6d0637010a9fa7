// Input against its schema: what is wrong is said of every field at once, with the limit that it met.

import type { ZodType } from "zod";
import { type FieldFault, ok, type Refused, type Result, refuse } from "../errors";

type Issue = Readonly<{
  code?: string;
  message: string;
  path: readonly PropertyKey[];
  keys?: readonly string[];
  maximum?: number | bigint;
  minimum?: number | bigint;
  params?: Readonly<Record<string, unknown>>;
}>;

const FAULTS_SHOWN = 20;
const FIELD_LENGTH = 200;

/** `input` as `schema` reads it. */
export function parse<T>(schema: ZodType<T>, input: unknown): Result<T> {
  const parsed = schema.safeParse(input);
  if (parsed.success) return ok(parsed.data);
  return refuseFaults((parsed.error.issues as readonly Issue[]).flatMap(faultsOf));
}

/** Refuses a request for all of its faults together. */
export function refuseFaults(all: readonly FieldFault[]): Refused {
  const faults = all.slice(0, FAULTS_SHOWN);
  const [first] = faults;
  const detail = faults
    .map(({ field, detail }) => (field === "" ? detail : `${field}: ${detail}`))
    .join("; ");
  return refuse("invalid-request", detail, {
    ...(first && first.field !== "" && { field: first.field }),
    ...(first?.limit !== undefined && { limit: first.limit }),
    ...(faults.length > 1 && { faults }),
  });
}

function faultsOf(issue: Issue): FieldFault[] {
  if (issue.code === "unrecognized_keys") {
    return (issue.keys ?? []).map((key) => ({
      field: fieldName([...issue.path, key]),
      detail: "there is no such field",
    }));
  }
  const limit = limitOf(issue);
  const fault = { field: fieldName(issue.path), detail: issue.message };
  return [limit === undefined ? fault : { ...fault, limit }];
}

function limitOf({ maximum, minimum, params }: Issue): number | string | undefined {
  const limit = params?.limit ?? maximum ?? minimum;
  if (typeof limit === "bigint") return Number(limit);
  return typeof limit === "number" || typeof limit === "string" ? limit : undefined;
}

/** `ackIds[3]`, `endpoint.url`. */
function fieldName(path: readonly PropertyKey[]): string {
  const name = path
    .map((part) => (typeof part === "number" ? `[${part}]` : `.${String(part)}`))
    .join("")
    .replace(/^\./, "");
  return name.slice(0, FIELD_LENGTH).toWellFormed();
}
