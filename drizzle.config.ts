// Writes migrations/catalog from the catalog's schema: `npm run migrations -- --name what_changed`.
import { defineConfig } from "drizzle-kit";

export default defineConfig({
  dialect: "sqlite",
  schema: "./src/catalog/catalog-schema.ts",
  out: "./migrations/catalog",
});
