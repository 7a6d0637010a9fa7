// Recurring publishes: create, read, change, list, pause, resume, delete. A schedule publishes to a topic, so each
// needs the scope to manage that topic; to others it is not there.

import type { Schedule } from "../catalog/schedule";
import { noSchedule, putSchedule, setSchedulePaused } from "../catalog/schedule-lifecycle";
import { ScheduleStore } from "../catalog/schedule-store";
import { ok, type Result, refuse } from "../errors";
import type { Broker } from "./broker";
import { type Route, reply, route } from "./route";
import {
  readSchedule,
  scheduleBody,
  scheduleInList,
  scheduleParams,
  scheduleView,
  showSchedule,
  showScheduleInList,
} from "./schedule-schemas";
import { listOf, page } from "./schemas";
import { mayDo, type Principal, patternsOf } from "./scope";

const tag = "Schedules";
const base = "/v1/schedules";
const at = `${base}/{schedule}`;
// Which topic it is about is in the body or in D1: the handlers check.
const access = "any-token" as const;
const manage = ["manage"] as const;

export const scheduleRoutes: readonly Route[] = [
  route({
    ...{ method: "get", path: base, tag, access },
    summary: "List schedules",
    description: "Those of topics that the token may manage, without their messages.",
    query: page,
    answers: {
      200: { description: "A page of schedules, by name.", schema: listOf("schedules", scheduleInList) },
    },
    handle: async ({ broker, principal, query }) => {
      const patterns = patternsOf(principal, manage);
      const schedules = await storeOf(broker).list({ ...query, patterns });
      const next = schedules.length === query.limit ? (schedules.at(-1)?.name ?? null) : null;
      return reply(200, { schedules: schedules.map(showScheduleInList), next });
    },
  }),
  route({
    ...{ method: "put", path: at, tag, access },
    summary: "Create a schedule, or change it",
    description:
      "It needs the scope to manage the topic, and the one that the schedule publishes to now. With another expression, zone or topic it counts from now. The message takes no id: each run's is made from its instant.",
    params: scheduleParams,
    body: scheduleBody,
    answers: {
      200: { description: "It exists like this.", schema: scheduleView },
      201: { description: "It was created.", schema: scheduleView },
    },
    handle: async ({ broker, principal, params, body }) => {
      const allowed = mayManage(principal, body.topic);
      if (!allowed.ok) return allowed;
      const wanted = readSchedule(params.schedule, body);
      if (!wanted.ok) return wanted;
      const put = await putSchedule(broker.catalog, wanted.value, (topic) => mayManage(principal, topic));
      return put.ok ? reply(put.value.created ? 201 : 200, showSchedule(put.value.schedule)) : put;
    },
  }),
  route({
    ...{ method: "get", path: at, tag, access },
    summary: "Show a schedule, its next run and how the last one went",
    params: scheduleParams,
    answers: { 200: { description: "The schedule.", schema: scheduleView } },
    handle: async ({ broker, principal, params }) => {
      const schedule = await find(broker, principal, params.schedule);
      return schedule.ok ? reply(200, showSchedule(schedule.value)) : schedule;
    },
  }),
  route({
    ...{ method: "delete", path: at, tag, access },
    summary: "Delete a schedule",
    description: "What it published stays.",
    params: scheduleParams,
    answers: { 204: { description: "It does not exist any more." } },
    handle: async ({ broker, principal, params }) => {
      const schedule = await find(broker, principal, params.schedule);
      if (!schedule.ok) return schedule;
      const { by } = broker.catalog;
      await storeOf(broker).delete(schedule.value, { now: broker.runtime.now(), by });
      return reply(204, undefined);
    },
  }),
  pausing("pause", "Pause a schedule", "The same again changes nothing."),
  pausing(
    "resume",
    "Resume a schedule",
    "It is bound to its topic as it is now. In the life of the topic that it had, the newest run that was missed is published next.",
  ),
];

function pausing(verb: "pause" | "resume", summary: string, description: string): Route {
  return route({
    ...{ method: "post", path: `${at}/${verb}`, tag, access },
    ...{ summary, description, params: scheduleParams },
    answers: { 200: { description: "The schedule.", schema: scheduleView } },
    handle: async ({ broker, principal, params }) => {
      const schedule = await find(broker, principal, params.schedule);
      if (!schedule.ok) return schedule;
      const set = await setSchedulePaused(broker.catalog, params.schedule, verb === "pause");
      return set.ok ? reply(200, showSchedule(set.value)) : set;
    },
  });
}

/** The schedule of a name; whoever may not manage its topic is not told that there is one. */
async function find(broker: Broker, principal: Principal, name: string): Promise<Result<Schedule>> {
  const schedule = await storeOf(broker).find(name);
  return schedule && mayDo(principal, manage, schedule.topic) ? ok(schedule) : noSchedule(name);
}

function mayManage(principal: Principal, topic: string): Result<null> {
  if (mayDo(principal, manage, topic)) return ok(null);
  return refuse("forbidden", `This needs the scope manage on "${topic}".`);
}

function storeOf({ env }: Broker): ScheduleStore {
  return new ScheduleStore(env.CATALOG);
}
