// `npm run contract -- --url … --token …`: the numbered tests of docs/delivery-contract.md against any deployment.
// Exits 0 when every promise that could be asked held, else 1. It starts no broker.

import { parseArgs } from "node:util";
import { startVitest } from "vitest/node";

const USAGE = `Holds a running broker to the delivery contract, over HTTP.

  npm run contract -- --url URL --token TOKEN [options] [file …]

  --url URL            the broker, such as http://127.0.0.1:8787 (npm start) or a deployment's
  --token TOKEN        one that may do everything: ROOT_TOKEN, or what npm start printed
  --receiver-url URL   where the broker reaches this machine: a tunnel's public https URL. Without it, tests that
                       need a webhook receiver are run only against a broker on this machine, and else listed as
                       not run
  --receiver-port N    the port here that the tunnel leads to (needed with --receiver-url)
  -t PATTERN           only tests whose names match, such as "clause 9:"
  file …               only files whose names contain it, such as clause-12

The tests make topics, queues, ledgers and tokens under names of their own, and delete the topics and queues at
their end. A run takes about a minute.
`;

const fault = await main();
if (fault) {
  console.error(fault);
  process.exitCode = 1;
}

async function main() {
  const { values, positionals } = readArguments();
  if (values.help) return void console.log(USAGE);
  const { url, token, "receiver-url": receiverUrl, "receiver-port": receiverPort } = values;
  if (!url || !token) return USAGE;
  if (!receiverUrl !== !receiverPort) return "--receiver-url and --receiver-port go together.";
  const origin = url.replace(/\/$/, "");
  const unready = await whyNotReady(origin, token);
  if (unready) return unready;
  Object.assign(process.env, { PENNYPOST_URL: origin, PENNYPOST_TOKEN: token });
  if (receiverUrl) {
    Object.assign(process.env, {
      PENNYPOST_RECEIVER_URL: receiverUrl,
      PENNYPOST_RECEIVER_PORT: receiverPort,
    });
  }
  const pattern = values.testNamePattern ? { testNamePattern: values.testNamePattern } : {};
  const vitest = await startVitest("test", positionals, {
    ...{ config: "test/contract/contract.config.ts", run: true, watch: false },
    ...pattern,
  });
  await vitest.close();
  const asked = vitest.state.getTestModules().flatMap((module) => [...module.children.allTests("passed")]);
  if (asked.length === 0) return "Nothing was asked: no test matches, or none could be run.";
}

function readArguments() {
  const text = { type: "string" };
  const options = {
    ...{ url: text, token: text, "receiver-url": text, "receiver-port": text },
    testNamePattern: { ...text, short: "t" },
    help: { type: "boolean", short: "h" },
  };
  try {
    return parseArgs({ options, allowPositionals: true });
  } catch (problem) {
    console.error(`${problem.message}\n`);
    return { values: {}, positionals: [] };
  }
}

/** Says what is wrong with the broker or the token, before a hundred tests say it each in its own way. */
async function whyNotReady(url, token) {
  try {
    const headers = { authorization: `Bearer ${token}` };
    const answer = await fetch(`${url}/v1/tokens`, { headers, signal: AbortSignal.timeout(30_000) });
    if (answer.ok) return;
    return `${url}/v1/tokens answered ${answer.status}: is this a broker, and may this token do everything?`;
  } catch (problem) {
    return `${url} does not answer: ${problem.cause?.message ?? problem.message}`;
  }
}
