// Scenario 4: a message that its consumer cannot digest becomes a dead letter, the others pass it by, and after
// the fix it is redriven and delivered.

import { ack, call, nack, type Pulled, publishStored, pull, stats } from "../../test/support/client.ts";
import { until } from "../../test/support/until.ts";
import type { Scenario, Stage } from "./stage.ts";

const QUEUE = "/v1/queues/welcome-email";
const EMAILS = 10;
const POISON = "welcome-04";
const MAX_ATTEMPTS = 3;
const ids = Array.from({ length: EMAILS }, (_, index) => `welcome-${String(index + 1).padStart(2, "0")}`);
const others = ids.filter((id) => id !== POISON);

type Welcome = { to: string; name: string | null };
type DeadLetter = { message: { id: string }; reason: string; attempts: number };
type Mailer = { greet: (welcome: Welcome) => string; sent: string[]; failures: number };

export const welcomeEmail: Scenario = {
  title: "Welcome email: a poison message becomes a dead letter, and is redriven after the fix",
  play: async (stage) => {
    const { broker, check } = stage;
    await call(broker, "PUT", QUEUE, {
      json: { maxAttempts: MAX_ATTEMPTS, retry: { minDelayMs: 20, maxDelayMs: 100 } },
    });
    await publishEmails(stage);
    const mailer: Mailer = { greet: greetCarelessly, sent: [], failures: 0 };
    await until("only the poison message is left, as a dead letter", async () => {
      await work(stage, mailer);
      const { dead, settled } = await stats(broker, QUEUE);
      return dead === 1 && settled === EMAILS - 1;
    });
    check("the others passed it by", mailer.sent.sort(), others);
    check("it was tried as often as the queue says", mailer.failures, MAX_ATTEMPTS);
    await redriveAfterFix(stage, mailer);
    check("every email was sent once", mailer.sent.sort(), ids);
  },
};

function greetCarelessly({ name }: Welcome): string {
  return `Dear ${(name as string).toUpperCase()}`;
}

function greetCarefully({ name }: Welcome): string {
  return `Dear ${name ?? "customer"}`;
}

async function publishEmails({ broker, say }: Stage): Promise<void> {
  const messages = ids.map((id) => ({
    id,
    data: { to: `${id}@example.com`, name: id === POISON ? null : id } satisfies Welcome,
  }));
  await publishStored(broker, QUEUE, messages);
  say("published", `${messages.length} emails, of which ${POISON} has no name`);
}

/** One round of the consumer: it pulls, sends what it can, and gives back what it cannot. */
async function work({ broker, say }: Stage, mailer: Mailer): Promise<void> {
  for (const message of await pull(broker, QUEUE, { max: 4, waitMs: 200 })) {
    const fault = sendOne(mailer, message);
    if (fault === undefined) {
      await ack(broker, QUEUE, [message]);
      say("delivered", `${message.id}, attempt ${message.attempt}`);
    } else {
      await nack(broker, QUEUE, [message], { reason: fault });
      say("retried", `${message.id}, attempt ${message.attempt} failed: ${fault}`);
    }
  }
}

function sendOne(mailer: Mailer, message: Pulled): string | undefined {
  try {
    mailer.greet(JSON.parse(message.data) as Welcome);
    mailer.sent.push(message.id);
    return undefined;
  } catch (fault) {
    mailer.failures += 1;
    return (fault as Error).message;
  }
}

async function redriveAfterFix(stage: Stage, mailer: Mailer): Promise<void> {
  const { broker, say, check } = stage;
  const path = `${QUEUE}/dead-letters`;
  const { deadLetters } = await call<{ deadLetters: DeadLetter[] }>(broker, "GET", path);
  for (const { message, reason, attempts } of deadLetters) {
    say("dead-lettered", `${message.id} after ${attempts} attempts: ${reason}`);
  }
  check(
    "the dead letter says which message it is, why, and after how many attempts",
    deadLetters.map(({ message, reason, attempts }) => [message.id, reason, attempts]),
    [[POISON, "attempts-spent", MAX_ATTEMPTS]],
  );
  mailer.greet = greetCarefully;
  await call(broker, "POST", `${path}/redrive`, { json: { all: true } });
  say("redriven", POISON);
  await until("the redriven message is delivered", async () => {
    await work(stage, mailer);
    const { dead, settled } = await stats(broker, QUEUE);
    return dead === 0 && settled === EMAILS;
  });
}
