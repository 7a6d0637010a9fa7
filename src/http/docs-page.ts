// The page at /docs: reads /openapi.json and shows it, without anything from elsewhere; and the page of problems.

import { problems } from "./problem";

const STYLE = `
:root { color-scheme: light dark; --line: #8884; --dim: #888; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
details { border: 1px solid var(--line); border-radius: 6px; margin: .4rem 0; padding: .4rem .8rem; }
summary { cursor: pointer; } code, pre { font: 13px/1.5 ui-monospace, monospace; }
pre { overflow: auto; background: #8881; padding: .6rem; border-radius: 6px; }
.method { display: inline-block; width: 4.5rem; font-weight: 700; text-transform: uppercase; }
.dim { color: var(--dim); } table { border-collapse: collapse; } td, th { text-align: left; padding: .2rem .8rem .2rem 0; vertical-align: top; }`;

// Everything is set as text: what the document says is never markup.
const SCRIPT = `
const el = (tag, props = {}, ...children) => {
  const node = Object.assign(document.createElement(tag), props);
  node.append(...children);
  return node;
};
const resolve = (schema, all, depth = 0) => {
  if (!schema || typeof schema !== "object" || depth > 8) return schema;
  if (schema.$ref) return resolve(all[schema.$ref.split("/").pop()], all, depth + 1);
  if (Array.isArray(schema)) return schema.map((part) => resolve(part, all, depth + 1));
  return Object.fromEntries(Object.entries(schema).map(([key, part]) => [key, resolve(part, all, depth + 1)]));
};
const block = (title, value) => [el("h4", { textContent: title }), el("pre", { textContent: JSON.stringify(value, null, 2) })];
const show = (path, method, operation, all) => {
  const box = el("details", {}, el("summary", {},
    el("span", { className: "method", textContent: method }), el("code", { textContent: path }), " ",
    el("span", { className: "dim", textContent: operation.summary ?? "" })));
  if (operation.description) box.append(el("p", { textContent: operation.description }));
  if (operation.parameters?.length) {
    const rows = operation.parameters.map((each) => el("tr", {}, el("td", {}, el("code", { textContent: each.name })),
      el("td", { className: "dim", textContent: each.in + (each.required ? ", required" : "") }),
      el("td", { textContent: each.description ?? each.schema?.description ?? "" })));
    box.append(el("table", {}, ...rows));
  }
  for (const [type, { schema }] of Object.entries(operation.requestBody?.content ?? {})) box.append(...block("Body: " + type, resolve(schema, all)));
  for (const [status, answer] of Object.entries(operation.responses ?? {})) {
    box.append(el("h4", { textContent: status + " " + answer.description }));
    for (const { schema } of Object.values(answer.content ?? {})) if (status !== "default") box.append(el("pre", { textContent: JSON.stringify(resolve(schema, all), null, 2) }));
  }
  return box;
};
const page = await (await fetch("/openapi.json")).json();
const main = document.querySelector("main");
const byTag = Map.groupBy(Object.entries(page.paths).flatMap(([path, methods]) => Object.entries(methods).map(([method, operation]) => ({ path, method, operation }))), ({ operation }) => operation.tags?.[0] ?? "Other");
for (const [tag, operations] of byTag) main.append(el("h2", { textContent: tag }), ...operations.map(({ path, method, operation }) => show(path, method, operation, page.components?.schemas ?? {})));`;

const page = (title: string, body: string) =>
  `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${title}</title>
<style>${STYLE}</style>
<h1>${title}</h1>
${body}
</html>
`;

export const docsPage = page(
  "Pennypost API",
  `<p>From <a href="/openapi.json">/openapi.json</a>. Errors are <a href="/docs/problems">problems</a>.</p>
<main></main>
<script type="module">${SCRIPT}</script>`,
);

const rows = Object.entries(problems).map(
  ([code, { status, title, retryable }]) =>
    `<tr id="${code}"><td><code>${code}</code></td><td>${status}</td><td>${title}</td><td>${retryable ? "yes" : "no"}</td></tr>`,
);

export const problemsPage = page(
  "Pennypost problems",
  `<p>Each is described in <code>docs/problems.md</code>.</p>
<table><tr><th>Problem</th><th>Status</th><th>Title</th><th>Retryable</th></tr>
${rows.join("\n")}
</table>`,
);
