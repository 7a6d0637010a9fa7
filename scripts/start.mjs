// `npm start`: the broker on this machine, its databases migrated, with a token that stays the same. Prints
// what to paste. PORT, STATE_DIR, PENNYPOST_TOKEN and LOG=on are its settings.

import { randomBytes } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { startBroker } from "../test/support/broker.ts";
import { portTaken } from "../test/support/port.ts";

const MIN_TOKEN_LENGTH = 16;
/** Until it is ready, what wrangler prints is in the error that start throws. */
let ready = false;
const stopping = new AbortController();
for (const name of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(name, () => stopping.abort());

try {
  await main();
} catch (fault) {
  if (!stopping.signal.aborted) {
    console.error(fault instanceof Error ? fault.message : fault);
    process.exitCode = 1;
  }
}

async function main() {
  const port = readPort(process.env.PORT ?? "8787");
  if (await portTaken(port)) {
    throw new Error(`Port ${port} is already in use. Choose another: PORT=${port + 1} npm start`);
  }
  const stateDir = resolve(process.env.STATE_DIR ?? join(import.meta.dirname, "..", ".wrangler", "state"));
  const token = await localToken(stateDir);
  const secretsKey = await keptSecret(stateDir, "local-secrets-key");
  const log = process.env.LOG === "on";
  const broker = await startBroker({
    ...{ port, stateDir, token, secretsKey, abort: stopping.signal },
    ...(log && { vars: { LOG: "on" }, logLevel: "log" }),
    watch: true,
    // In the group of this process: what ends the group ends the broker.
    ownGroup: false,
    onOutput: (text) => ready && !stopping.signal.aborted && process.stderr.write(text),
  });
  ready = true;
  console.log(greeting(broker));
  await Promise.race([broker.exited(), aborted()]);
  if (!stopping.signal.aborted) throw new Error("The broker has ended.");
  await broker.stop();
}

function readPort(text) {
  const port = Number(text);
  if (Number.isInteger(port) && port >= 1 && port <= 65_535) return port;
  throw new Error(`PORT is a number from 1 to 65535, not '${text}'.`);
}

/** The token of this state: from PENNYPOST_TOKEN, or made once and kept beside the state. */
async function localToken(stateDir) {
  const chosen = process.env.PENNYPOST_TOKEN;
  if (chosen !== undefined) {
    if (/^[\x21-\x7e]+$/.test(chosen) && chosen.length >= MIN_TOKEN_LENGTH) return chosen;
    throw new Error(`PENNYPOST_TOKEN has at least ${MIN_TOKEN_LENGTH} characters and no space.`);
  }
  return keptSecret(stateDir, "local-token");
}

/** Made once and kept beside the state, for whoever starts it again. */
async function keptSecret(stateDir, name) {
  const path = join(stateDir, name);
  await mkdir(stateDir, { recursive: true });
  const made = randomBytes(32).toString("base64url");
  await writeFile(path, made, { flag: "wx", mode: 0o600 }).catch(unlessKept);
  return (await readFile(path, "utf8")).trim();
}

function unlessKept(fault) {
  if (fault.code !== "EEXIST") throw fault;
}

function aborted() {
  return new Promise((done) => stopping.signal.addEventListener("abort", done, { once: true }));
}

function greeting({ url, token, stateDir }) {
  const queue = `${url}/v1/queues/hello`;
  const curl = `curl -sS -w '\\n' -H 'Authorization: Bearer ${token}' -H`;
  return `
Pennypost is ready.

  url    ${url}
  token  ${token}
  docs   ${url}/docs
  state  ${stateDir}

Paste this: it creates a queue, publishes a message and pulls it.

${curl} 'Content-Type: application/json' -X PUT ${queue} -d '{}'
${curl} 'Content-Type: text/plain' ${queue}/messages -d 'Hello, Pennypost!'
${curl} 'Content-Type: application/json' ${queue}/pull -d '{"max":10,"waitMs":5000}'

Ctrl-C ends it.
`;
}
