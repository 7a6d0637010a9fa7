// Clauses 1 to 6: what a publish promises.

import { describe, expect, test } from "vitest";
import { ARRIVES_MS, codeOf, type Delivered, type Problem, unique } from "../support/contract-client";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();
const ids = (messages: readonly { id: string }[]) => messages.map(({ id }) => id);

describe("clause 1", () => {
  test("clause 1: a 201 says where the message is stored, and there it is", async () => {
    const topic = await broker.topic();
    const answer = await topic.publishRaw("Hello", { prefer: "wait", "content-type": "text/plain" });
    expect(answer).toMatchObject({ status: 201, body: { status: "stored" } });
    const [stored] = answer.body.messages;
    expect(stored).toMatchObject({ partition: 0, offset: 0, duplicate: false });
    const [delivered] = await (await topic.subscribe()).pullAll(1);
    expect(delivered).toMatchObject({ id: stored?.id, partition: 0, offset: 0, data: "Hello" });
  });

  test("clause 1: a message that was answered 202 arrives", async () => {
    const topic = await broker.topic();
    const subscription = await topic.subscribe();
    const answer = await topic.publishRaw("Hello");
    expect(answer).toMatchObject({ status: 202, body: { status: "accepted" } });
    const [delivered] = await subscription.pullAll(1);
    expect(delivered).toMatchObject({ id: answer.body.messages[0]?.id, data: "Hello" });
  });

  test("clause 1: every byte and every word of a message arrives as it was sent", async () => {
    const topic = await broker.topic();
    const everyByte = Uint8Array.from({ length: 256 }, (_, i) => i);
    await topic.publishRaw(everyByte, {
      prefer: "wait",
      "content-type": "application/x-every-byte",
      "pennypost-attr-colour": "blue",
    });
    await topic.publishRaw("", { prefer: "wait", "content-type": "text/plain" });
    const [binary, empty] = await (await topic.subscribe()).pullAll(2);
    expect(binary).toMatchObject({
      dataBase64: btoa(String.fromCharCode(...everyByte)),
      contentType: "application/x-every-byte",
      attributes: { colour: "blue" },
    });
    expect(binary).not.toHaveProperty("data");
    expect(empty).toMatchObject({ data: "", contentType: "text/plain" });
  });

  test("clause 1: a sender that can set no header publishes with a token in the URL, and does nothing else with it", async () => {
    const topic = await broker.topic({ keepHeaders: ["X-GitHub-Event"], idHeader: "X-GitHub-Delivery" });
    const name = topic.path.slice("/v1/topics/".length);
    const { token } = await broker.call<{ token: string }>("POST", "/v1/tokens", {
      json: { name: "github", scopes: [{ verb: "publish", topics: name }] },
    });
    const headers = {
      "content-type": "application/json",
      "x-github-event": "push",
      "x-github-delivery": "d-1",
      prefer: "wait",
    };
    const options = { body: '{"ref": "main"}', headers, token: null };
    expect((await broker.send("POST", `/v1/in/${token}`, options)).status).toBe(201);
    expect((await broker.send("POST", `/v1/in/${token}`, options)).status).toBe(201);
    const subscription = await topic.subscribe();
    expect(await subscription.pullAll(1)).toMatchObject([
      { id: "d-1", data: '{"ref": "main"}', headers: { "x-github-event": "push" } },
    ]);
    expect(await subscription.pull()).toEqual([]);
    const pulled = await broker.send("POST", `${subscription.path}/pull`, { json: {}, token });
    expect([pulled.status, codeOf(pulled.body)]).toEqual([403, "forbidden"]);
  });

  test("clause 1: what is refused is not stored", async () => {
    const topic = await broker.topic();
    const missing = await broker.topicAt(`/v1/topics/${unique("missing")}`).publishRaw("x");
    expect([missing.status, codeOf(missing.body)]).toEqual([404, "topic-not-found"]);
    const bad = await topic.publishRaw("x", { prefer: "wait", "idempotency-key": "has.a.dot" });
    expect([bad.status, codeOf(bad.body)]).toEqual([400, "invalid-request"]);
    expect(await (await topic.subscribe()).pull()).toEqual([]);
  });
});

describe("clause 2", () => {
  test("clause 2: the same id with the same content is stored once and answers its first place", async () => {
    const topic = await broker.topic({ partitions: 4 });
    const publish = () =>
      topic.publishRaw("paid", {
        prefer: "wait",
        "idempotency-key": "payment-1",
        "content-type": "text/plain",
      });
    const first = await publish();
    const second = await publish();
    expect(second.status).toBe(201);
    expect(second.body.messages).toEqual([{ ...first.body.messages[0], duplicate: true }]);
    expect(ids(await (await topic.subscribe()).pullAll(1))).toEqual(["payment-1"]);
  });

  test("clause 2: the same id with other content is refused, and the first message stays", async () => {
    const topic = await broker.topic();
    await topic.publish({ id: "payment-1", data: "10 euros" });
    const other = await topic.publishRaw("20 euros", {
      prefer: "wait",
      "idempotency-key": "payment-1",
      "content-type": "text/plain; charset=utf-8",
    });
    expect([other.status, codeOf(other.body)]).toEqual([422, "id-reused"]);
    const subscription = await topic.subscribe();
    expect(await subscription.pullAll(1)).toMatchObject([{ data: "10 euros" }]);
    expect(await subscription.pull()).toEqual([]);
  });

  test("clause 2: content is the body, its type, the key, the subject and the attributes, and no trace header", async () => {
    const topic = await broker.topic();
    const base = { prefer: "wait", "idempotency-key": "m", "content-type": "text/plain" };
    const statuses = [];
    for (const headers of [
      base,
      { ...base, traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" },
      { ...base, "x-request-id": "7" },
      { ...base, "content-type": "text/html" },
      { ...base, "pennypost-subject": "a.b" },
      { ...base, "pennypost-attr-a": "1" },
      { ...base, "pennypost-ordering-key": "k" },
    ]) {
      statuses.push((await topic.publishRaw("same", headers)).status);
    }
    expect(statuses).toEqual([201, 201, 201, 422, 422, 422, 422]);
  });

  test("clause 2: of many publishes of one id at once, one is stored and the others are its duplicates", async () => {
    const topic = await broker.topic();
    const headers = { prefer: "wait", "idempotency-key": "once" };
    const answers = await Promise.all(Array.from({ length: 12 }, () => topic.publishRaw("same", headers)));
    const stored = answers.flatMap(({ body }) => body.messages);
    expect(stored.filter(({ duplicate }) => !duplicate)).toHaveLength(1);
    expect(new Set(stored.map(({ offset }) => offset)).size).toBe(1);
  });

  test("clause 2: an id that comes twice in one request is stored once", async () => {
    const topic = await broker.topic();
    const stored = await topic.publish(
      { id: "a", data: "1" },
      { id: "a", data: "1" },
      { id: "b", data: "2" },
    );
    expect(stored.map(({ id, offset, duplicate }) => [id, offset, duplicate])).toEqual([
      ["a", 0, false],
      ["a", 0, true],
      ["b", 1, false],
    ]);
  });

  test("clause 2: an id that was accepted twice is delivered once", async () => {
    const topic = await broker.topic();
    const subscription = await topic.subscribe();
    await topic.publishRaw("same", { "idempotency-key": "once" });
    await topic.publishRaw("same", { "idempotency-key": "once" });
    await topic.publishRaw("the end", { "idempotency-key": "end" });
    const seen: Delivered[] = [];
    while (!ids(seen).includes("end")) seen.push(...(await subscription.pullAll(1)));
    expect(ids(seen).filter((id) => id === "once")).toHaveLength(1);
  });

  test("clause 2: an accepted publish whose id was used for other content is kept to be looked at", async () => {
    const topic = await broker.topic();
    const subscription = await topic.subscribe();
    await topic.publish({ id: "m", data: "first" });
    expect((await topic.publishRaw("other", { "idempotency-key": "m" })).status).toBe(202);
    type Rejections = { rejections: { messageId: string; error: Problem }[] };
    const rejection = await broker.eventually("the rejection is listed", async () => {
      const { rejections } = await broker.call<Rejections>("GET", `${topic.path}/rejections`);
      return rejections[0];
    });
    expect([rejection.messageId, codeOf(rejection.error)]).toEqual(["m", "id-reused"]);
    expect(await subscription.pullAll(1)).toMatchObject([{ data: "first" }]);
    expect(await subscription.pull()).toEqual([]);
  });
});

describe("clause 3", () => {
  const good = (id: string) => ({ id, data: id });

  test("clause 3: one bad item of a batch refuses itself and not its neighbours", async () => {
    const topic = await broker.topic();
    const { status, body } = await topic.batch(
      { messages: [good("a"), { id: "bad id", data: "x" }, good("c")] },
      { prefer: "wait" },
    );
    expect(status).toBe(201);
    expect(body.messages).toMatchObject([
      { id: "a", offset: 0 },
      { error: { status: 400, field: "messages[1].id", retryable: false } },
      { id: "c", offset: 1 },
    ]);
    expect(ids(await (await topic.subscribe()).pullAll(2))).toEqual(["a", "c"]);
  });

  test("clause 3: lines of NDJSON are items too, each with its own result", async () => {
    const topic = await broker.topic();
    const { status, body } = await broker.send<{ messages: unknown[] }>(
      "POST",
      `${topic.path}/messages/batch`,
      {
        body: `${JSON.stringify(good("a"))}\n${JSON.stringify({ data: 1, id: "" })}\n${JSON.stringify(good("c"))}\n`,
        headers: { prefer: "wait", "content-type": "application/x-ndjson" },
      },
    );
    expect(status).toBe(201);
    expect(body.messages).toMatchObject([{ id: "a" }, { error: { status: 400 } }, { id: "c" }]);
  });

  test("clause 3: an item whose id was used for other content is refused alone", async () => {
    const topic = await broker.topic();
    await topic.publish(good("a"));
    const [reused, stored] = await topic.publish({ id: "a", data: "other" }, good("b"));
    expect(codeOf(reused?.error ?? { type: "" })).toBe("id-reused");
    expect(stored).toMatchObject({ id: "b", offset: 1 });
  });

  test("clause 3: an atomic batch with one bad item stores nothing", async () => {
    const topic = await broker.topic();
    const malformed = await topic.batch({ messages: [good("a"), { id: "bad id", data: "x" }], atomic: true });
    expect([malformed.status, codeOf(malformed.body)]).toEqual([422, "atomic-refused"]);
    await topic.publish(good("known"));
    const reused = await topic.batch({ messages: [good("b"), { id: "known", data: "other" }], atomic: true });
    expect([reused.status, codeOf(reused.body)]).toEqual([422, "atomic-refused"]);
    const subscription = await topic.subscribe();
    expect(ids(await subscription.pullAll(1))).toEqual(["known"]);
    expect(await subscription.pull()).toEqual([]);
  });

  test("clause 3: an atomic batch is stored as one, in one partition", async () => {
    const topic = await broker.topic({ partitions: 8 });
    const messages = ["a", "b", "c"].map((data) => ({ orderingKey: "k", data }));
    const { status, body } = await topic.batch({ messages, atomic: true });
    expect(status).toBe(201);
    expect(body.messages.map(({ offset }) => offset)).toEqual([0, 1, 2]);
    expect(new Set(body.messages.map(({ partition }) => partition)).size).toBe(1);
  });

  test("clause 3: an atomic batch that spans partitions is refused", async () => {
    const topic = await broker.topic({ partitions: 8 });
    const messages = Array.from({ length: 40 }, (_, i) => ({ orderingKey: `k${i}`, data: i }));
    const { status, body } = await topic.batch({ messages, atomic: true });
    expect([status, codeOf(body)]).toEqual([422, "atomic-spans-partitions"]);
    expect(await (await topic.subscribe()).pull()).toEqual([]);
  });
});

describe("clause 4", () => {
  test("clause 4: of one ordering key, what is published later gets the higher offset, in the same partition", async () => {
    const topic = await broker.topic({ partitions: 8 });
    const places = [];
    for (let i = 0; i < 10; i++) {
      await topic.publish({ orderingKey: `other-${i}`, data: i });
      const [place] = await topic.publish({ orderingKey: "k", data: i });
      places.push(place);
    }
    expect(new Set(places.map((place) => place?.partition)).size).toBe(1);
    const offsets = places.map((place) => place?.offset ?? -1);
    expect(offsets).toEqual([...offsets].sort((a, b) => a - b));
    expect(new Set(offsets).size).toBe(10);
  });

  test("clause 4: an ordering key goes the stored way, though nobody asked to wait", async () => {
    const topic = await broker.topic();
    const answer = await topic.publishRaw("x", { "pennypost-ordering-key": "k" });
    expect(answer).toMatchObject({ status: 201, body: { status: "stored" } });
    const mixed = await topic.batch({ messages: [{ data: 1 }, { data: 2, orderingKey: "k" }] });
    expect(mixed).toMatchObject({ status: 201, body: { status: "stored" } });
  });
});

describe("clause 5", () => {
  test("clause 5: what was published while nobody subscribed is there for who comes later", async () => {
    const topic = await broker.topic();
    await topic.publish({ id: "early", data: 1 });
    const earliest = await topic.subscribe({ startAt: "earliest" });
    const latest = await topic.subscribe({ startAt: "latest" });
    await topic.publish({ id: "late", data: 2 });
    expect(ids(await earliest.pullAll(2))).toEqual(["early", "late"]);
    expect(ids(await latest.pullAll(1))).toEqual(["late"]);
  });

  test("clause 5: a subscription starts at the offsets it names, or at a time", async () => {
    const topic = await broker.topic();
    await topic.publish({ id: "a", data: 1 }, { id: "b", data: 2 }, { id: "c", data: 3 });
    const fromOffset = await topic.subscribe({ startAt: { offsets: { 0: 2 } } });
    const fromBefore = await topic.subscribe({ startAt: { time: 1 } });
    const fromAfter = await topic.subscribe({ startAt: { time: 4_000_000_000_000 } });
    expect(ids(await fromOffset.pullAll(1))).toEqual(["c"]);
    expect(ids(await fromBefore.pullAll(3))).toEqual(["a", "b", "c"]);
    expect(await fromAfter.pull()).toEqual([]);
  });
});

describe("clause 6", () => {
  test("clause 6: a burst of accepted publishes arrives whole", async () => {
    const topic = await broker.topic({ partitions: 3 });
    const subscription = await topic.subscribe();
    const answers = await Promise.all(
      Array.from({ length: 40 }, (_, i) =>
        topic.batch({ messages: [{ data: i }, { data: i }, { data: i }] }),
      ),
    );
    expect(answers.every(({ status }) => status === 202)).toBe(true);
    const accepted = answers.flatMap(({ body }) => ids(body.messages));
    const arrived = ids(await subscription.pullAll(accepted.length));
    expect(arrived.sort()).toEqual(accepted.sort());
  });

  test("clause 6: what was accepted for a deleted topic never surfaces in the topic that took its name", async () => {
    const name = unique("again");
    const first = await broker.topic({}, name);
    const [accepted] = await Promise.all([
      first.publishRaw("for the first life"),
      broker.call("DELETE", first.path),
    ]);
    expect([202, 404, 410]).toContain(accepted.status);
    const second = await broker.topic({}, name);
    const subscription = await second.subscribe();
    await second.publishRaw("for the second life", { "content-type": "text/plain" });
    expect(await subscription.pullAll(1, { waitMs: ARRIVES_MS })).toMatchObject([
      { data: "for the second life" },
    ]);
    expect(await subscription.pull()).toEqual([]);
  });
});
