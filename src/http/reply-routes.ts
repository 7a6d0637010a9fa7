// Request and reply, the answerer's side: whoever pulled a request replies to it, and acks it in the same call. Whoever was
// pushed one and could not answer in time replies here too. The same below a subscription and a queue.

import { z } from "zod";
import type { AckId } from "../ack-id";
import { ok, type Result, refuse } from "../errors";
import { limits } from "../limits";
import { replyName } from "../object-name";
import { parseReplyTo, type Replied, type ReplyTo, type Said } from "../reply-calls";
import type { Broker } from "./broker";
import { type Found, type SubscriptionPlace, withFresh } from "./place-routes";
import { readData } from "./publish-items";
import { type Route, reply, route } from "./route";
import { ackId, problem, text } from "./schemas";
import { settle } from "./settle-store";

/** Base64 of a reply of full size. */
const BASE64_LENGTH = Math.ceil(limits.replyBytes / 3) * 4;
const REPLY_TO_LENGTH = 256;
const CONTENT_TYPE = /^[\x20-\x7e]+$/;

const replyTo = z
  .string()
  .max(REPLY_TO_LENGTH)
  .refine((value) => parseReplyTo(value) !== undefined, "the `replyTo` of a request is needed")
  .meta({
    description: "As the request carries it: `replyTo`, or the header `Pennypost-Reply-To`.",
  });
const replyBody = z
  .strictObject({
    replyTo,
    ackId: ackId
      .optional()
      .meta({ description: "Of the pulled request: it is acked once the reply is kept." }),
    contentType: text(1, limits.contentTypeBytes)
      .regex(CONTENT_TYPE, "printable ASCII characters are needed")
      .optional(),
    data: z.unknown().optional().meta({
      description: "A string is its UTF-8 bytes; any other JSON value is serialised once.",
    }),
    dataBase64: z.string().max(BASE64_LENGTH).optional(),
  })
  .meta({ id: "Reply" });
const replied = z
  .object({
    reply: z.enum(["first", "late", "second", "dropped", "forgotten"]).meta({
      description:
        "`first`: in time. `late`: after the wait. `second`: another was before it. `dropped`: so many are kept " +
        "already. `forgotten`: nobody asks under this id, or no longer.",
    }),
    status: z.enum(["acked", "lease-lost"]).optional().meta({ description: "Of the ack id." }),
    error: problem.optional().meta({ description: "In place of a status, when its partition cannot say." }),
  })
  .meta({ id: "Replied" });

type Body = z.output<typeof replyBody>;

/** The route of whoever replies. */
export function replyRoutes({ base, tag, params, find }: SubscriptionPlace): readonly Route[] {
  return [
    route({
      ...{ method: "post", path: `${base}/reply`, tag, access: ["consume"], settles: true },
      summary: "Reply to a request, and settle it as done",
      description:
        "The reply is kept first, then the request is acked. To repeat the call changes nothing. An ack id whose lease " +
        "is over settles nothing; its reply is kept all the same.",
      params,
      body: replyBody,
      answers: { 200: { description: "What became of the reply, and of the ack id.", schema: replied } },
      handle: async ({ broker, params: path, body }) => {
        const answer = await withFresh(
          broker,
          () => find(broker, path),
          (found) => replyAndAck(broker, found, body),
        );
        return answer.ok ? reply(200, answer.value) : answer;
      },
    }),
  ];
}

async function replyAndAck(broker: Broker, found: Found, body: Body): Promise<Result<object>> {
  const said = readReply(found.subscription.name, body);
  if (!said.ok) return said;
  const kept = await keep(broker, parseReplyTo(body.replyTo) as ReplyTo, said.value);
  if (!kept.ok || body.ackId === undefined) return kept.ok ? ok({ reply: kept.value }) : kept;
  const acked = await settle(broker, found, [body.ackId], (partition, refs) => partition.ack({ refs }));
  if (!acked.ok) return acked;
  const [{ ackId: _, ...settled } = { ackId: "" }] = acked.value;
  return ok({ reply: kept.value, ...settled });
}

function readReply(subscription: string, { ackId, contentType, data, dataBase64 }: Body): Result<Said> {
  const read = readData({ data, dataBase64 }, "");
  if (!read.ok) return read;
  if (read.value.body.byteLength > limits.replyBytes) {
    const detail = `A reply is at most ${limits.replyBytes} bytes.`;
    return refuse("payload-too-large", detail, { field: "data", limit: limits.replyBytes });
  }
  return ok({
    subscription,
    ...(ackId && { delivery: deliveryOf(ackId) }),
    contentType: contentType ?? read.value.contentType,
    body: read.value.body,
  });
}

function deliveryOf({ partition, offset, leaseId }: AckId) {
  return { partition, offset, leaseId };
}

function keep({ env }: Broker, to: ReplyTo, said: Said): Promise<Result<Replied>> {
  return env.REPLY.getByName(replyName(to)).answer({ secret: to.secret, ...said });
}
