// Every limit, named, with its unit and the reason for its value, by the noun it bounds. It is one table, longer than any
// other file of src and without a line of logic: whoever asks what the broker bounds finds all of it here, and whoever adds
// a limit sees those that it must fit.

const KiB = 1024;
const MiB = 1024 * KiB;
const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;
const day = 24 * hour;

export const limits = {
  // ── a message ──────────────────────────────────────────────────────────────────────────────────────
  /** What SQS allows since 2025, and half of an object's row. */
  messageBytes: 1 * MiB,
  /** One event as JSON: a message of full size as base64, with 64 KiB of attributes, escaped. */
  eventBytes: 2 * MiB,
  /** It becomes the `webhook-id` header. */
  messageIdLength: 128,
  orderingKeyBytes: 128,
  subjectBytes: 256,
  contentTypeBytes: 256,
  attributeCount: 64,
  attributeNameLength: 64,
  /** Attributes travel as headers to webhooks; Cloudflare allows 128 kB of headers. */
  attributesBytes: 64 * KiB,
  keptHeaderCount: 32,
  /** What W3C Trace Context asks to be carried at the least; longer is dropped. */
  tracestateLength: 512,
  /** 55 characters today; a version of tomorrow may say more. */
  traceparentLength: 128,
  /** Together, names included: foreign senders' signatures and ids are far below. */
  keptHeadersBytes: 16 * KiB,

  // ── a publish ──────────────────────────────────────────────────────────────────────────────────────
  publishMessages: 1_000,
  publishRequestBytes: 8 * MiB,
  /** A Cloudflare Queue message is at most 128,000 bytes, of which about 100 are its own. */
  queueMessageBytes: 127_000,
  /** Above this a publish goes the stored way: base64 and headers must still fit a Cloudflare Queue message. */
  acceptedRecordsBytes: 100_000,

  /** Delayed further than a year, a message is a calendar's business; the platform keeps an alarm for as long. */
  maxDelayMs: 365 * day,
  minTtlMs: 1,
  maxTtlMs: 365 * day,

  /** Tries of one append inside the broker, all with one record batch id: a fault of the way to the topic passes. */
  appendTries: 3,
  appendRetryMs: 200,
  /** What sendBatch takes is 256 kB and 100 messages; a little is left for each message's own. */
  queueSendBytes: 240_000,
  queueSendMessages: 100,
  /** A publisher that was too fast for the Cloudflare Queue (5,000 messages/s) waits this long. */
  queueRetryAfterMs: 1 * second,

  // ── the topic ──────────────────────────────────────────────────────────────────────────────────────
  nameLength: 80,
  partitions: 64,
  /** Priorities are 0 to 9, as most brokers have them: each in use has partitions of its own. */
  maxPriority: 9,
  /** One append is one row; the platform's row limit is 2 MB. */
  rowBytes: 1_500_000,
  readBytes: 4 * MiB,
  /** What one statement reads of the log: a tenth of the statements a row each would take, and little in memory. */
  pageRows: 500,
  pageBytes: 1 * MiB,
  /** How much log one search for followers looks at before it answers. */
  scanBytes: 16 * MiB,
  /** Cloudflare's limit is 10 GB an object; past this the topic refuses, with room left to tidy up. */
  topicBytes: 8_000_000_000,
  /** Records ride along with a notify up to this size; beyond it the subscription reads them itself. */
  notifyBytes: 256 * KiB,
  notifyConcurrency: 32,
  notifyAgainMs: 5 * second,
  minRetentionMs: 1 * minute,
  maxRetentionMs: 365 * day,
  defaultRetentionMs: 7 * day,
  /** A Cloudflare Queue may redeliver a record batch for 14 days: keys must outlive that. */
  minKeyRetentionMs: 15 * day,
  /** A log is dropped a segment at a time, so a message outlives its retention by at most this share of it. */
  segmentsPerRetention: 8,
  /** Every lookup of an id asks each segment of keys, so there are few. */
  keySegmentsPerRetention: 4,
  /** A segment closes at this share of the bytes its topic may keep, so that removing one makes room. */
  byteSegmentsPerRetention: 16,
  /** Every segment holds at least one row of `rowBytes`, so less than this could not be kept to. */
  minRetentionBytes: 24 * MiB,
  defaultRetentionBytes: 5_000_000_000,
  /** A topic that is over its limit asks its subscriptions what they have settled at most this often. */
  settledAskMs: 1 * second,
  /** A publisher that met a full topic waits this long: about what it takes to settle a segment. */
  topicFullRetryMs: 10 * second,
  /** How long the catalog says that a partition is full: accepted publishes are refused until then. */
  topicFullForMs: 90 * second,
  /** It is said again only when less than this is left: so at most once a minute. */
  topicFullAgainMs: 30 * second,
  /** A subscription that could not be told what is past its retention is told again after this. */
  expireAgainMs: 30 * second,
  /** Calls that one round of telling makes to a subscription with much to bury. */
  expireCalls: 100,
  /** What is past its retention waits at most this long for a subscription: as long as a lease without an extension. */
  expireWaitMs: 12 * hour,
  rejectionsKept: 1_000,
  /** Delayed messages of a partition, each a row with its record until it is due; counting them all takes milliseconds. */
  delayedMessages: 100_000,
  /** Delayed messages that get their offsets in one change: each leaves a publish key. */
  releasedAtOnce: 1_000,
  /** Rows of released messages that one alarm writes before it lets others have their turn. */
  releasesPerAlarm: 8,
  /** Producers that a partition remembers, for as long as the topic lives: a row of about 100 bytes each. */
  producersPerPartition: 10_000,
  /** Below 2^53 with room to count up: every number on the way here is exact. */
  maxSequence: 9_000_000_000_000_000,
  subscriptionsPerTopic: 1_000,
  /** Names to go back to; of 64 partitions each is about 1 kB. */
  snapshotsPerSubscription: 100,

  // ── a subscription ─────────────────────────────────────────────────────────────────────────────────
  pullMessages: 1_000,
  pullBytes: 4 * MiB,
  pullWaitMs: 20 * second,
  /** Partitions that one pull waits for: a Worker may hold 6 outgoing connections. */
  pullWaitPartitions: 6,
  /** Over several priorities, one pull in so many begins with the lowest that waits: it gets on, and delays the highest little. */
  pullsPerLowest: 10,
  /** Pulls whose turn is remembered, so that one which arrives twice counts once. */
  turnsTold: 100,
  settleIds: 1_000,
  minAckDeadlineMs: 1 * second,
  maxAckDeadlineMs: 12 * hour,
  defaultAckDeadlineMs: 60 * second,
  maxAttempts: 1_000,
  defaultMaxAttempts: 20,
  minRetryDelayMs: 0,
  maxRetryDelayMs: 24 * hour,
  defaultMinRetryDelayMs: 5 * second,
  defaultMaxRetryDelayMs: 12 * hour,
  maxNackDelayMs: 12 * hour,
  reasonLength: 1_000,
  openLeases: 1_000,
  /** Leases whose ids are remembered, so that a call which comes again late leases nothing: about 1 MB in memory. */
  handedOutLeases: 10_000,
  maxInFlight: 20_000,
  defaultMaxInFlight: 1_000,
  /** Deliveries that wait, and as many lanes, per partition; past either the subscription stops reading on: both are in memory. */
  waitingDeliveries: 100_000,
  /** Records kept in memory: what is leased or about to be. */
  bufferBytes: 4 * MiB,
  /** One read ahead of the log. */
  readAheadBytes: 1 * MiB,
  /** Followers of one lane that one search brings. */
  followersRead: 100,
  /** How often one lease may read the log before it answers with what it has. */
  leaseReads: 50,
  /** A push subscription with unread messages and nothing due looks again after this long. */
  lookAgainMs: 5 * second,
  /** After a raise: how soon, at the least and at the most, a partition asks its parent again which keys wait there. */
  minAskParentMs: 1 * second,
  maxAskParentMs: 1 * minute,
  /** Keys that such an answer names, 1.3 MB of them at most; above that all keys wait. */
  pendingKeys: 10_000,
  attemptsKept: 10,
  expiriesPerAlarm: 1_000,
  /** Waiting deliveries that one call turns into dead letters when retention overtakes them. */
  expiriesPerCall: 1_000,
  /** Reads of the log in which one such call looks for followers; the topic then calls again. */
  expiryReads: 50,
  /** Gap records of a partition; past it the two oldest become one, so that their counts stay whole. */
  gapsKept: 20,
  /** The dying whose messages one read of the log brings. */
  buriedPerRead: 100,
  deadLettersPerCall: 1_000,
  /** Dead letters that one call looks at for those that match: 10,000 are about 20 ms without their messages. */
  deadLettersScanned: 10_000,
  /** How often a dead letter is sent round: past this, more of the same is a loop. */
  defaultMaxRedrives: 20,
  maxRedrives: 1_000,
  minRedrivesPerSecond: 0.01,
  maxRedrivesPerSecond: 1_000,
  /** How far ahead a redrive may begin. */
  redriveAheadMs: 30 * day,
  /** Answers of seeks that are remembered, so that one that comes twice moves nothing the second time. */
  seeksKept: 100,

  // ── filters ────────────────────────────────────────────────────────────────────────────────────────
  /** A filter as JSON: it travels with its subscription's settings, in every dispatch. */
  filterBytes: 16 * KiB,
  /** What one look at a message can cost is bounded by these together: about 0.1 s for the worst body there is. */
  filterFields: 100,
  filterValues: 200,
  filterWildcards: 50,
  /** Of the filter, one level for each name on the way down and for each `$or`. */
  filterDepth: 10,
  filterTextLength: 512,
  /** A larger body matches no filter of bodies. What SNS takes: parsing it costs a millisecond or two. */
  filterBodyBytes: 256 * KiB,
  /** Reasons that a dry run tells. */
  filterMismatches: 50,
  /** Versions of a filter that a subscription's partition keeps, to say which one left a message out. */
  filterVersions: 20,
  /** A run of filtered messages is saved when something else is, or when it has come so far: that much is judged again after a restart. */
  filteredUnsaved: 1_000,
  filteredUnsavedBytes: 1 * MiB,
  /** What one cut judges afresh, in bytes of records, before others have their turn. */
  filterCutBytes: 1 * MiB,

  // ── forwarding ─────────────────────────────────────────────────────────────────────────────────────
  /** How often a message is forwarded from topic to topic: more is a loop, or a route that nobody can follow. */
  forwardHops: 8,
  /** Topics that the search for a loop looks at when a forward is set; what it misses, the hops end. */
  forwardWalkTopics: 200,
  /** How often one publish that asks what it matched holds a message against a filter: about 0.1 s. */
  matchedLooks: 100_000,

  // ── live ───────────────────────────────────────────────────────────────────────────────────────────
  /** Of one partition of a subscription; each may have leases of its own, of which there are `openLeases`. */
  socketsPerPartition: 100,
  /** A socket is closed then and opened anew: whoever it is of, and whatever it was opened with. */
  socketMs: 1 * hour,
  /** How often one that is in use has its token looked at: a question to D1 each time. */
  socketCheckMs: 1 * minute,
  /** What a consumer may have granted and not got: as much as a pull may ask for. */
  socketCredit: 1_000,
  /** A frame's messages; consumers on several sockets take turns, a frame each. */
  socketFrameMessages: 100,
  socketFrameBytes: 256 * KiB,
  /** Sent to a socket since its consumer last said something. It says something to settle, so more would only pile up. */
  socketUnheardBytes: 4 * MiB,
  /** What a consumer says in one frame: 1,000 ack ids are 60 kB. */
  socketFrameInBytes: 1 * MiB,
  /** One answer of the tail of a log: a reader that came for news has little to catch up with. */
  tailBytes: 256 * KiB,
  /** How long one connection of a stream lasts; its reader comes back with the place it has reached. */
  streamMs: 15 * minute,
  /** Calls of one connection: a Worker may make 10,000. */
  streamCalls: 5_000,
  /** A comment is sent when nothing else was: below what proxies take for dead. */
  streamHeartbeatMs: 15 * second,
  /** A reader that takes nothing for this long is cut. */
  streamStallMs: 30 * second,
  /** Partitions that a stream waits for at once: a Worker's outgoing connections. The others have their turn. */
  streamPartitions: 6,
  /** How long a partition has its turn when there are more: of 64, each is heard within 11 s. */
  streamTurnMs: 1 * second,
  /** A ticket stands in a URL, which may be logged. */
  defaultTicketMs: 1 * minute,
  maxTicketMs: 15 * minute,

  // ── the timeline ───────────────────────────────────────────────────────────────────────────────────
  /** Outcomes ride in the state row up to this size, hundreds of changes, then become a row of their own. */
  outcomeRowBytes: 2 * KiB,
  /** Outcomes are dropped a segment at a time: 2,000 rows are about 5 MB. */
  outcomeRowsPerSegment: 2_000,
  /** Segments of outcomes kept for each partition: about 80 MB, and at worst 7 million single settles. */
  outcomeSegments: 16,
  /** Offsets that one audit of a partition looks at: a bit of memory each. */
  auditOffsets: 10_000_000,
  /** Reads of the log, of up to `auditFollowers` messages each, that one audit makes to find followers. */
  auditReads: 50,
  auditFollowers: 1_000,
  /** An id tells when it was made by a Worker's clock; the log goes by the object's. */
  idClockSkewMs: 10 * second,

  // ── push ───────────────────────────────────────────────────────────────────────────────────────────
  /** What one dispatch carries: measured, 400 push three times as many in batches as 100, for the same writes a lease. */
  dispatchMessages: 400,
  /** Messages in one POST. */
  batchMessages: 100,
  dispatchBytes: 4 * MiB,
  /** Cloudflare's outgoing connections per invocation. */
  dispatchConnections: 6,
  dispatchesPerSubscription: 4,
  /** A dispatch gives back what it has not sent after this long. */
  dispatchMs: 5 * minute,
  reportEveryMs: 5 * second,
  /** A report that faults is repeated, after up to this long times the tries so far. */
  reportTries: 4,
  reportRetryMs: 500,
  /** A claim in the ledger outlives its request's timeout by this: clocks of two dispatchers may differ. */
  claimMarginMs: 30 * second,
  /** How long a receiver that answers 202 has to complete, unless its answer asks for another time. */
  handOverMs: 15 * minute,
  /** When the ledger is away, effectively-once deliveries are tried again after this. */
  ledgerAwayMs: 5 * second,
  /** What a dispatcher finds expired is looked at again after this: its clock and the subscription's may differ. */
  expiredAgainMs: 1 * second,
  minTimeoutMs: 1 * second,
  maxTimeoutMs: 5 * minute,
  defaultTimeoutMs: 30 * second,
  responseBytes: 16 * KiB,
  responseKeptLength: 500,
  /** What a batch endpoint answers about each message: 100 ids with a reason of full length each. */
  batchAnswerBytes: 128 * KiB,
  maxRetryAfterMs: 24 * hour,
  /** A `Retry-After` of nothing, again and again, must not become a storm. */
  minPauseMs: 1 * second,
  /** So many failures in a row, of so many deliveries, hold back an endpoint: not what one message alone can do. */
  tripRequests: 10,
  tripDeliveries: 5,
  /** How long an endpoint is left alone before it is probed: twice as long each time, from the first to the second. */
  minOpenMs: 5 * second,
  maxOpenMs: 5 * minute,
  /** How much of a backlog an endpoint that recovers is sent: so many times what it took before, or this a second. */
  drainShare: 2,
  minDrainPerSecond: 20,
  /** A backlog that never ends, because more is published than it drains, is held to that no longer. */
  maxRampMs: 1 * hour,
  /** What an endpoint takes is smoothed over this long. */
  throughputMs: 1 * minute,
  healthReasonLength: 200,
  /** Dispatches whose last word is remembered, so that a report which arrives twice counts once. */
  dispatchesTold: 32,
  /** A dispatch that has not reported for this long, three reports, is taken to be dead. */
  quietDispatchMs: 15 * second,
  /** What a paced dispatch carries is sent within this: so a change of pace is soon in force. */
  pacedDispatchMs: 10 * second,
  /** Partitions divide what their endpoint may be sent anew after so long, and nobody has more than that ahead. */
  shareRoundMs: 2 * second,
  /** A share that is not called for so soon after its round began is anybody's. */
  shareShowUpMs: 0.5 * second,
  /** Whoever must wait for another to have sent asks again no sooner. */
  shareAgainMs: 20,
  /** For so long a slot is given, of requests under way at once; its holder asks again sooner, and whoever waits sooner still. */
  slotsMs: 1 * second,
  slotsAgainMs: 0.5 * second,
  slotsSoonMs: 0.2 * second,
  /** Of so much that is shared, one goes to the lowest priority that waits. */
  sharesPerLowest: 10,
  /** What divides counts as away when it has not answered for so long; it is asked again after up to this. */
  shareWaitMs: 1 * second,
  shareRetryMs: 500,
  /** How late a timer may be before what it kept back is late for good. */
  paceLateMs: 50,
  /** Not answered for so long, each has an equal share: whatever else was given out has ended by then. */
  shareLostMs: 5 * second,
  /** A rate limit above this is none: it is more than the partitions of a topic send. */
  rateRequests: 1_000_000,
  /** Requests at once that may be asked for: 64 partitions make no more, 24 each. */
  maxConcurrency: 1_536,
  /** What an operator may have a backlog drain at, in requests a second. */
  maxDrainPerSecond: 10_000,
  urlLength: 2_048,
  endpointHeaders: 20,
  batchWaitMs: 10 * second,

  /** The first try of an endpoint comes after the answer that shows its signing secret, and after its row is active. */
  verifyAfterMs: 1 * second,
  /** A try takes no longer, whatever the endpoint's own timeout: whoever asks for one waits for it. */
  verifyTimeoutMs: 30 * second,
  /** A challenge's answer is some 60 bytes. */
  verifyAnswerBytes: 4 * KiB,
  /** An endpoint that grants nothing is asked again: as long again as it was tried, from the first to the second. */
  minVerifyAgainMs: 10 * second,
  maxVerifyAgainMs: 1 * hour,
  /** Then it is given up, and stays unverified until somebody has it asked again: some 35 requests. */
  verifyForMs: 1 * day,
  /** A try that has not come back has died: a token, two requests and the writing down take less. */
  verifyFlightMs: 2 * minute,
  /** How long the URL is good by which an endpoint may grant a handshake later: time for a person to find it in a log. */
  callbackMs: 7 * day,

  // ── what a topic asks of its messages ──────────────────────────────────────────────────────────────
  /** A JSON pointer into a body. */
  pointerLength: 512,
  /** A schema as JSON. It travels with its topic's settings, of which an isolate remembers thousands. */
  schemaBytes: 16 * KiB,
  /** Of the schema as JSON: a level of an object takes two, its properties and theirs. */
  schemaDepth: 40,
  schemaPatternLength: 256,
  /** A text that has a pattern or a format, and a property's name: backtracking goes by its length. */
  schemaTextLength: 1_024,
  /** Ways to take a text apart, each of at most a step a character: with the length above, 10 million steps. */
  schemaPatternWays: 10_000,
  /** Each item is held against each other: 10,000 comparisons. */
  schemaUniqueItems: 100,
  /** Of one publish request: schemas held against values, one to two seconds of work. */
  schemaSteps: 500_000,
  /** In a message of up to so many values every fault is looked for; in a larger one the search ends at the first. */
  schemaThoroughValues: 1_000,
  /** Faults told of one message. */
  schemaFaultsShown: 5,
  /** Compiled schemas that an isolate keeps: about 100 kB each when they are of full size. */
  schemasKept: 100,

  // ── the secrets of endpoints ───────────────────────────────────────────────────────────────────────
  /** Keys of one scheme that sign at once, the newest among them: each adds a signature of 50 or 94 characters. */
  signingKeys: 4,
  /** Long enough for a receiver to be deployed with the new secret. */
  defaultSecretOverlapMs: 24 * hour,
  /** A secret that was told to somebody else should not be good for ever. */
  maxSecretOverlapMs: 30 * day,
  /** A token, a password or a client's secret: a JSON Web Token with many claims fits. */
  credentialLength: 4_096,
  /** A user's or a client's name, a scope, an audience. */
  credentialNameLength: 1_024,
  /** How long a token endpoint has to answer. Deliveries wait for it. */
  tokenTimeoutMs: 10 * second,
  tokenAnswerBytes: 64 * KiB,
  /** It travels in a header, of which Cloudflare allows 128 kB together. */
  accessTokenLength: 16 * KiB,
  /** What a token endpoint that does not say it means. */
  defaultTokenMs: 5 * minute,
  /** Beyond it a token is asked for anew, whatever the answer said. */
  maxTokenMs: 24 * hour,
  /** A token is not used in its last minute: it must be good when it arrives. */
  tokenMarginMs: 1 * minute,
  /** After a failure a token endpoint is left alone, and deliveries wait: so long at first, twice after each more, and at most. */
  tokenAwayMs: 10 * second,
  tokenAwayMostMs: 2 * minute,
  /** How often a dispatch looks whether another's request for a token has been answered. */
  tokenLookMs: 100,
  /** Tokens that an isolate remembers: 16 MB when all are of full length. */
  accessTokensKept: 1_000,
  /** Secrets that an isolate keeps open. */
  openedSecretsKept: 1_000,
  /** What cannot be opened waits this long: until an operator has set the right key. */
  sealedAwayMs: 1 * minute,
  /** Subscriptions whose secrets one sweep seals anew. */
  sweepReseals: 50,

  /** Sets of public keys that an isolate remembers, and as many names that nobody has: 1 MB at most. */
  keySetsKept: 1_000,
  /** How long it does: a rotation overlaps for longer, and receivers keep keys for five minutes anyway. */
  keySetFreshMs: 30 * second,
  noKeySetFreshMs: 10 * second,
  /** Questions to D1, of one isolate in one window, that find no keys: anyone may ask, and receivers ask for what is there. */
  unknownKeySets: 300,
  unknownKeySetsByAddress: 20,
  unknownKeySetsMs: 1 * minute,

  // ── request and reply ──────────────────────────────────────────────────────────────────────────────
  /** How long one request waits for its reply: most proxies cut off what says nothing for longer. */
  maxReplyWaitMs: 60 * second,
  defaultReplyWaitMs: 30 * second,
  /** Askers that wait for one request at once: repeats of it, so more of them is a storm. */
  replyWaiters: 100,
  /** What a notify carries at most, so that an answer with all replies of a request is about 5 MB. */
  replyBytes: 256 * KiB,
  /** One for each of as many subscriptions; who answers more often is not asked to be heard. */
  repliesKept: 16,
  /** As long as a topic keeps a message unless it is told otherwise: what is retried for days may be answered for days. */
  replyKeptMs: 7 * day,
  /** After a late reply somebody has this long to look. */
  lateReplyKeptMs: 1 * day,

  // ── the ledger ─────────────────────────────────────────────────────────────────────────────────────
  claimsPerCall: 100,
  claimantLength: 128,
  minClaimLeaseMs: 1 * second,
  maxClaimLeaseMs: 12 * hour,
  defaultClaimLeaseMs: 60 * second,
  resultBytes: 16 * KiB,
  fingerprintLength: 128,
  /** How long a ledger remembers: past the longest retention of keys and of the default retries. */
  ledgerRetentionMs: 30 * day,
  /** Less would not outlive the longest claim. */
  minLedgerRetentionMs: 1 * day,
  /** Past the longest retention of a topic, what removal may lag behind it, and as many retries as the default makes. */
  maxLedgerRetentionMs: 500 * day,
  ledgerSweepRows: 1_000,

  // ── limits of tokens and topics ────────────────────────────────────────────────────────────────────
  /** A rate of messages above this is none: it is more than the partitions of a topic store. */
  rateMessages: 100_000_000,
  /** A quota above this is none; with three digits to spare it is a number that headers can carry. */
  quotaMessages: 1_000_000_000_000,
  /** A block is at most this share of what is free: others get theirs, and a limit is spent in a few dozen blocks. */
  limiterShare: 8,
  /** A block that lasted less than this is followed by one of twice its size. */
  limiterGrowMs: 2 * second,
  /** A limiter that does not answer for so long counts as away: requests wait for it. */
  limiterWaitMs: 3 * second,
  limiterRetryMs: 1 * second,
  /** Calls of one ask, all with its id. */
  limiterTries: 2,
  /** While its limiter is away, an isolate lets through this share of a quota in a window. */
  limiterLentShare: 100,
  /** Answers that a limiter remembers for calls that arrive twice: these come within a second or two. */
  limiterAnswersKept: 32,
  /** A limiter goes so long after its last window: one that is used each day is not made anew each day. */
  limiterKeptMs: 2 * day,
  /** Limits that an isolate knows its share of: a few hundred bytes each. */
  metersKept: 10_000,

  // ── the control plane ──────────────────────────────────────────────────────────────────────────────
  pageItems: 100,
  /** An entry read less than this ago is served as it is. */
  catalogFreshMs: 5 * second,
  /** Up to this age an entry is still served at once, and read again behind the request. */
  catalogRefreshMs: 30 * second,
  /** Up to this age an entry is served while D1 is away. */
  catalogStaleMs: 10 * minute,
  /** A read of D1 that takes longer counts as D1 being away. */
  catalogWaitMs: 3 * second,
  /** After a read that failed, an entry is not asked for again for this long. */
  catalogRetryMs: 1 * second,
  /** Entries of each sort that an isolate keeps: a few MB of its 128. */
  catalogCachedEntries: 10_000,
  /** A token's last use is written down at most this often. */
  tokenUsedEveryMs: 1 * minute,
  /** How often a PUT starts over when others change the same name meanwhile. */
  lifecycleTries: 5,
  /** Objects that one call about a deleted topic removes: the sweep goes on, so no call meets the 10,000 subrequests. */
  lifecycleObjects: 256,
  /** Objects called at once: Cloudflare's outgoing connections per invocation. */
  objectConnections: 6,
  strandedBatches: 10_000,
  /** Stranded batches written in one D1 batch: 128 kB each, and D1 allows 30 s for it. */
  strandAtOnce: 10,
  /** A stranded store that is full, or D1 away, is not asked again sooner. */
  strandAgainMs: 5 * minute,
  /** Backoff of an accepted record batch that its topic did not take: 100 retries of INGRESS then last about 4 hours. */
  minIngressRetryMs: 1 * second,
  maxIngressRetryMs: 5 * minute,
  /** A row whose request may still be at work is left to it for this long. */
  sweepAfterMs: 1 * minute,
  /** Unfinished rows that one sweep takes on, each of at most a few hundred object calls. */
  sweepRows: 10,
  sweepObjects: 200,
  /** Bodies other than publishes: 1,000 ack ids are 60 kB. */
  jsonRequestBytes: 1 * MiB,
  /** Objects that one scrape of the metrics asks: a Worker may make 10,000 calls, and a scrape has seconds. */
  metricsObjects: 500,
  /** Calls of a redrive, move or purge of many that take something from a partition; then it says that more are left. */
  selectionCalls: 10,
  /** Those that find nothing included: a million dead letters are looked at, and 64 partitions are 6,400 calls. */
  selectionScans: 100,
  /** Dead letters whose refusal is told one by one; the rest are counted. */
  refusalsShown: 100,
  /** Schedules of the broker: their messages are the largest thing in D1, 300 MB of its 10 GB when all are full. */
  schedules: 5_000,
  /** The message of a schedule, packed: it lies in D1, where a row is at most 2 MB and a page of them is read at once. */
  scheduleMessageBytes: 64 * KiB,
  cronLength: 256,
  timeZoneLength: 64,
  /** Runs that one sweep publishes, each an object call: with the rest of the sweep far below 10,000 subrequests. */
  sweepRuns: 1_000,
  /** Due schedules read, and runs noted, in one call of D1: 3 MB at most. */
  runsAtOnce: 50,
  /** Tokens of the broker, so that whoever may make them cannot fill D1: 300 bytes each. */
  tokens: 10_000,
  /** How long a rotated token's former secret is honoured unless the request says: a working day and a night. */
  defaultTokenOverlapMs: 1 * day,
  maxTokenOverlapMs: 30 * day,
  /** An expired token is shown for this long, so that whoever misses it finds why; then the sweep removes it. */
  expiredTokenKeptMs: 30 * day,
  /** The audit log: about 50 MB of D1's 10 GB when it is full of long records, and a year of a busy team's changes. */
  auditRecords: 100_000,
  auditKeptMs: 365 * day,
  /** What one sweep removes of it for its age, and as much for the cap: faster than anybody changes things. */
  auditPurgedAtOnce: 1_000,
  /** Fields that one record tells of, and characters of each: with the rest, 20 kB at most. */
  auditFields: 40,
  auditTextLength: 200,
  tokenNameLength: 128,
  tokenScopes: 50,
  /** How long a body may take to come: 8 MiB at 140 kB/s. What trickles in holds memory and a connection meanwhile. */
  bodyMs: 60 * second,
  /** JSON up to this size is parsed as it is: however it is nested, it is a few MB in memory. */
  unscannedJsonBytes: 64 * KiB,
  /** Objects and lists in one body: each takes about 30 bytes, whether or not there is anything in it. */
  jsonContainers: 500_000,
  jsonDepth: 64,
} as const;
