// An endpoint's reply to a request, written where its asker waits. A reply that cannot be stored would be lost with the
// settling of its delivery: the attempt has failed then, and the request is sent again.

import { limits } from "../limits";
import { parseReplyTo, type Said } from "../reply-calls";
import type { Item, PushedReply, WebhookAnswer } from "./dispatch-plan";
import type { Run } from "./dispatch-run";
import { trying } from "./reporting";

/** An answer that carries a reply. */
type Replying = Extract<WebhookAnswer, { delivered: true }> & Readonly<{ reply: PushedReply }>;

export function repliesTo(answer: WebhookAnswer): answer is Replying {
  return answer.delivered && answer.reply !== undefined;
}

/** Keeps the reply that `answer` is to the one message of a parcel. Answers how that has fared with it. */
export async function keepReply(run: Run, [item]: readonly Item[], answer: Replying): Promise<WebhookAnswer> {
  const to = parseReplyTo(item?.message.replyTo ?? "");
  if (item === undefined || to === undefined) return answer;
  const { status, at, latencyMs, reply } = answer;
  const said = saidBy(run, item, { ...reply, status });
  const written = await trying(run, limits.reportTries, () => run.deps.reply(to, said));
  // Whoever was forgotten has been answered: nothing is gained by sending the request again.
  if (written !== undefined) return answer;
  return {
    delivered: false,
    note: { at, status, error: "its reply could not be stored", latencyMs },
    gone: false,
  };
}

function saidBy({ call }: Run, { offset, attempt }: Item, what: Omit<Said, "subscription">): Said {
  const { subscription, partition, lease } = call;
  return { subscription, delivery: { partition, offset, leaseId: lease.leaseId }, attempt, ...what };
}
