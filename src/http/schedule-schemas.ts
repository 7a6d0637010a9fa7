// Schedules as the API takes and shows them.

import { z } from "zod";
import {
  packMessage,
  RUN_ATTRIBUTES,
  type Schedule,
  type ScheduleMessage,
  type ScheduleWanted,
} from "../catalog/schedule";
import type { ScheduleInList } from "../catalog/schedule-store";
import { ok, type Result, refuse } from "../errors";
import { limits } from "../limits";
import { checkMessage } from "../message";
import { messageJson } from "../message-json";
import { readItemAt } from "./publish-items";
import { instant, messageFields, name, text } from "./schemas";

export const scheduleParams = z.object({ schedule: name });

const messageBody = z
  .strictObject({
    orderingKey: z.string().max(limits.orderingKeyBytes).optional(),
    subject: z.string().max(limits.subjectBytes).optional(),
    contentType: z.string().max(limits.contentTypeBytes).optional(),
    data: z.unknown().optional().meta({
      description: "A string is its UTF-8 bytes; any other JSON value is serialised once.",
    }),
    dataBase64: z.string().optional().meta({ description: "In place of `data`, for any bytes." }),
    attributes: z.record(z.string(), z.string()).optional(),
  })
  .meta({ id: "MessageToRepeat" });

export const scheduleBody = z
  .strictObject({
    topic: name.meta({ description: "The topic or queue to publish to." }),
    cron: text(1, limits.cronLength).meta({
      description: "Minute, hour, day of the month, month, day of the week; or @hourly to @yearly.",
      example: "30 9 * * MON-FRI",
    }),
    timeZone: text(1, limits.timeZoneLength).default("UTC").meta({
      description: "The IANA name of a time zone.",
      example: "Europe/Berlin",
    }),
    message: messageBody,
    paused: z.boolean().optional().meta({ description: "Left as it is when absent." }),
  })
  .meta({ id: "ScheduleSettings" });

const { contentType, data, dataBase64, orderingKey, subject, attributes } = messageFields;

const outcome = z
  .object({
    status: z.enum(["stored", "retrying", "refused"]),
    runAt: instant,
    at: instant.meta({ description: "When it was tried." }),
    messageId: z.string(),
    partition: z.int().optional(),
    offset: z.int().optional(),
    error: z.string().optional().meta({ description: "The code of the refusal." }),
    missedSince: instant
      .optional()
      .meta({ description: "The first of the runs that were missed: this one stands for all of them." }),
  })
  .meta({ id: "RunOutcome" });

export const scheduleInList = z
  .object({
    name,
    topic: name,
    cron: z.string(),
    timeZone: z.string(),
    paused: z.boolean(),
    pausedReason: z
      .enum(["topic-gone", "no-run-left"])
      .nullable()
      .meta({ description: "Why the broker paused it; null when somebody did." }),
    nextRunAt: instant.nullable().meta({ description: "Null while it is paused." }),
    lastRunAt: instant.nullable().meta({ description: "The newest run that is stored." }),
    lastOutcome: outcome.nullable(),
    version: z.int(),
    createdAt: instant,
    updatedAt: instant,
  })
  .meta({ id: "ScheduleInList" });

export const scheduleView = scheduleInList
  .extend({
    message: z.object({ contentType, data, dataBase64, orderingKey, subject, attributes }),
  })
  .meta({ id: "Schedule" });

/** What a PUT asks for, its message read and measured as a publish's is. */
export function readSchedule(
  scheduleName: string,
  body: z.output<typeof scheduleBody>,
): Result<ScheduleWanted> {
  const message = readMessage(body.message);
  return message.ok ? ok({ ...body, name: scheduleName, message: message.value }) : message;
}

function readMessage(item: unknown): Result<ScheduleMessage> {
  const read = readItemAt(item, "message", { publishedAt: 0, newId: () => "schedule" });
  if (!read.ok) return read;
  const { id, publishedAt, ...message } = read.value.message;
  const own = {
    [RUN_ATTRIBUTES.schedule]: "x".repeat(limits.nameLength),
    [RUN_ATTRIBUTES.runAt]: "0".repeat(16),
  };
  const taken = Object.keys(own).find((attribute) => Object.hasOwn(message.attributes ?? {}, attribute));
  if (taken !== undefined) {
    return refuse("invalid-request", `The attribute ${taken} is set by the broker.`, {
      field: `message.attributes.${taken}`,
    });
  }
  // The broker's own attributes must find room too, or a run would be refused where nobody looks.
  const whole = checkMessage(
    { ...message, id, publishedAt, attributes: { ...message.attributes, ...own } },
    "message.",
  );
  if (!whole.ok) return whole;
  if (packMessage(message).byteLength <= limits.scheduleMessageBytes) return ok(message);
  return refuse(
    "payload-too-large",
    `The message of a schedule is at most ${limits.scheduleMessageBytes} bytes, attributes and all.`,
    { field: "message", limit: limits.scheduleMessageBytes },
  );
}

export function showSchedule({ message, ...schedule }: Schedule) {
  const { id: _, publishedAt: __, ...shown } = messageJson({ ...message, id: "", publishedAt: 0 });
  return { ...showScheduleInList(schedule), message: shown };
}

/** A schedule without its message. */
export function showScheduleInList({ name, topic, cron, timeZone, ...schedule }: ScheduleInList) {
  const { paused, pausedReason, nextRunAt, lastRunAt, lastOutcome, version, createdAt, updatedAt } = schedule;
  return {
    ...{ name, topic, cron, timeZone, paused, pausedReason, nextRunAt: paused ? null : nextRunAt },
    ...{ lastRunAt, lastOutcome, version, createdAt, updatedAt },
  };
}
