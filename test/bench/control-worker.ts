// What the broker is compared with: bare Hono routes that parse the JSON they are sent and answer with as many
// bytes as the broker does, and a bare loop that makes the same webhook requests.

import { Hono } from "hono";

type Batch = { messages: unknown[] };
type Settle = { ackIds: string[] };
type Push = { url: string; count: number; headers: Record<string, string>; body: string };

/** As many as Cloudflare lets one invocation have waiting. */
const CONNECTIONS = 6;
const ID = "0195f3a0-7c1e-7b6a-9d53-2f4f5b6a7c8d";

let pulled: Batch = { messages: [] };
const app = new Hono();

app.get("/healthz", (c) => c.text("ok"));

app.post("/v1/topics/:topic/messages", async (c) => {
  await c.req.json();
  return c.json({ status: "accepted", messages: [{ id: ID }] }, 202);
});

app.post("/v1/topics/:topic/messages/batch", async (c) => {
  const { messages } = await c.req.json<Batch>();
  return c.json({ status: "accepted", messages: messages.map(() => ({ id: ID })) }, 202);
});

/** What every pull answers from now on. */
app.put("/pulled", async (c) => {
  pulled = await c.req.json<Batch>();
  return c.body(null, 204);
});

app.post("/v1/topics/:topic/subscriptions/:subscription/pull", async (c) => {
  await c.req.json();
  return c.json(pulled);
});

app.post("/v1/topics/:topic/subscriptions/:subscription/ack", async (c) => {
  const { ackIds } = await c.req.json<Settle>();
  return c.json({ results: ackIds.map((ackId) => ({ ackId, status: "acked" })) });
});

app.post("/push", async (c) => {
  const { url, count, headers, body } = await c.req.json<Push>();
  let left = count;
  const connection = async () => {
    while (left-- > 0) {
      const answer = await fetch(url, { method: "POST", headers, body });
      await answer.body?.cancel();
      if (!answer.ok) throw new Error(`the receiver answered ${answer.status}`);
    }
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, connection));
  return c.body(null, 204);
});

export default app;
