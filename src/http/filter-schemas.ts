// A filter as the API takes it: its form is checked by hand, so that what is wrong is said with its place and its limit.

import { z } from "zod";
import { filterFaults } from "../filter/matcher";
import type { Filter } from "../filter-form";

const FIELD = "filter";

/** The form of a filter, for the field `filter` of whatever has one. */
export const filterForm = z
  .custom<Filter>()
  .superRefine((value, context) => {
    for (const { field, detail, limit } of filterFaults(value, FIELD)) {
      const below = field.slice(FIELD.length).replace(/^\./, "");
      context.addIssue({
        code: "custom",
        message: detail,
        ...(below !== "" && { path: [below] }),
        ...(limit !== undefined && { params: { limit } }),
      });
    }
  })
  .meta({
    id: "Filter",
    type: "object",
    description:
      "What of the topic is delivered: subject, attributes and body, of which each that is there must match; with " +
      "`unmatched`, only of what no other subscription matched when it was stored. " +
      "docs/filters.md says what may stand in them.",
    example: {
      subject: ["orders.*.created", "audit.#"],
      attributes: { tenant: ["acme", { prefix: "test-" }] },
      body: { order: { total: [{ numeric: [">=", 100] }] } },
    },
  });
