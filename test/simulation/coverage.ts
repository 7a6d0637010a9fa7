// What a run has met: counted, so that a simulation which no longer meets a danger is noticed.

const NAMES = [
  "publishes",
  "acceptedPublishes",
  "repeatedPublishes",
  "duplicatesAnswered",
  "reusedIdsRefused",
  "leases",
  "settledAtOnce",
  "repeatedPulls",
  "redeliveries",
  "acks",
  "lateAcks",
  "overtakenAcks",
  "nacks",
  "extensions",
  "deadLetters",
  "redrives",
  "purges",
  "parkedLanes",
  "followers",
  "pauses",
  "crashes",
  "writesLost",
  "evictions",
  "requestsLost",
  "answersLost",
  "callsDuplicated",
  "callsSlow",
  "alarms",
  "alarmsLate",
  "alarmsTwice",
  "alarmsStale",
  "alarmsLost",
  "sweeps",
  "workersKilled",
  "dispatchersKilled",
  "webhooks",
  "endpointErrors",
  "endpointRetryAfter",
  "endpointHangs",
  "endpointLate",
  "endpointGone",
  "answerThenCrash",
  "claimsBusy",
  "completedUnsent",
  "lateReports",
  "d1Outages",
  "d1Faults",
  "topicOutages",
  "subscriptionOutages",
  "queueRedeliveries",
  "queueRetries",
  "queueDeadLetters",
  "stranded",
  "resent",
  "seeks",
  "readmitted",
  // delays and times to live
  ...([
    "delayed",
    "released",
    "cancelled",
    "rescheduled",
    "cancelsTooLate",
    "ttlExpired",
    "diedExpired",
  ] as const),
  // retention
  ...(["expired", "overtaken", "gaps"] as const),
  // completion by the receiver
  ...(["handedOver", "receiversCompleted", "receiversFailed", "receiversLate", "claimsLost"] as const),
  // producers that number what they publish
  ...(["relayPublishes", "relaysKilled", "knownNumbers", "gapsRefused"] as const),
  // more partitions
  ...(["raises", "batchesMoved", "handedAfterRaise", "orderedAfterSeek"] as const),
  // dead letters, moved or at a rate
  ...(["moves", "movesAnswered", "movesBroken", "paced"] as const),
  // deletion and creation anew
  ...([
    "subscriptionsDeleted",
    "subscriptionsRecreated",
    "topicsDeleted",
    "topicsRecreated",
    "goneAnswered",
    "strandedForGood",
  ] as const),
  "settingsTaken",
  // filters
  ...(["filtered", "filtersChanged"] as const),
  // deadlines that passed: of several at once, of one alone, and what came back in smaller company
  ...(["silencesShared", "silencesAlone", "companyHalved"] as const),
  // forwards
  ...([
    "forwardBatches",
    "forwardsStored",
    "forwardsKnown",
    "forwardsTwice",
    "forwardsInOrder",
    "loopsEnded",
    "targetsFull",
    "targetsGone",
    "boundAnew",
  ] as const),
  // alternates
  ...(["matched", "unmatched", "alternatesHanded"] as const),
  // what partitions share
  ...(["pacedRequests", "sharesAsked", "capacityLives", "slotsShared"] as const),
  // priorities
  ...(["prioritiesAdded", "pullsOfAll", "pullsOfSeveral", "lowestFirst", "turnsChecked"] as const),
] as const;

export type Met = (typeof NAMES)[number];
export type Counts = Record<Met, number>;

/** Those that a run of the whole simulation must meet. */
export const MUST_MEET: readonly Met[] = NAMES;

export function noCounts(): Counts {
  return Object.fromEntries(NAMES.map((name) => [name, 0])) as Counts;
}

export function addCounts(sum: Counts, more: Counts): void {
  for (const name of Object.keys(sum) as Met[]) sum[name] += more[name];
}
