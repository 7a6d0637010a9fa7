// A webhook receiver that dedups by webhook-id: a process of its own, which can be killed with -9 anywhere. Its effect
// is a line of its journal, from which it knows in its next life what it has done. Now and then it is out of order.

import { createServer, type IncomingHttpHeaders } from "node:http";
import { pause } from "../support/until.ts";
import { isIntact } from "./chaos-body.ts";
import { chanceOf } from "./chaos-chance.ts";
import { eventsOf } from "./chaos-event.ts";
import { clock, openJournal, readJournal } from "./chaos-journal.ts";

const { SUBSCRIPTION = "", NAME = "", DIR = "", PORT = "0", SEED = "1" } = process.env;
const FAILS_ONE_IN = 40;
const AGAIN_MS = 100;

const journal = openJournal(DIR, NAME);
const known = new Set(eventsOf(readJournal(journal.path), "effect").map(({ id }) => id));
const chance = chanceOf(Number(SEED), `${NAME} ${known.size}`);

const server = createServer(async (request, response) => {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  response.writeHead(take(request.headers, Buffer.concat(chunks).toString())).end();
});
const listen = () => server.listen(Number(PORT), "127.0.0.1");
// Its port was free while it was dead: a connection of somebody's may have it for a moment.
server.on("error", () => void pause(AGAIN_MS).then(listen));
listen();

/** Takes one webhook and says with which status it is answered. */
function take(headers: IncomingHttpHeaders, text: string): number {
  const id = String(headers["webhook-id"]);
  const key = headers["pennypost-ordering-key"]?.toString() ?? null;
  const [partition, offset, attempt] = ["partition", "offset", "attempt"].map((word) =>
    Number(headers[`pennypost-${word}`]),
  ) as [number, number, number];
  const delivery = { subscription: SUBSCRIPTION, id, key, partition, offset };
  const intact = isIntact(text, { id, key });
  journal.write({ type: "delivered", askedAt: clock(), attempt, intact, ...delivery });
  if (chance.oneIn(FAILS_ONE_IN)) return 503;
  if (!known.has(id)) journal.write({ type: "effect", ...delivery });
  known.add(id);
  return 204;
}
