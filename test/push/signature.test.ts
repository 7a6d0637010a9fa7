// What a receiver sees: requests verified with the `standardwebhooks` package, as a receiver would.
import { Webhook } from "standardwebhooks";
import { describe, expect, it } from "vitest";
import { batchId, importSecrets, sign } from "../../src/push/signature";
import { webhookRequest } from "../../src/push/webhook";
import { packRecords, unpackRecords } from "../../src/record-batch";
import { systemRuntime } from "../../src/runtime";
import { SECRET, World } from "./dispatch-world";

const OTHER_SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const utf8 = new TextEncoder();
const timestamp = Math.floor(systemRuntime.now() / 1000);

describe("a signature", () => {
  it("is one the reference library makes too", async () => {
    const body = utf8.encode('{"grün":"📮"}');
    const keys = await importSecrets([SECRET]);
    const expected = new Webhook(SECRET).sign("msg_1", new Date(timestamp * 1000), '{"grün":"📮"}');
    expect(await sign(keys, { id: "msg_1", timestamp, body })).toBe(expected);
  });

  it("is one for each secret, so that a receiver may hold either", async () => {
    const body = utf8.encode('{"a":1}');
    const keys = await importSecrets([SECRET, OTHER_SECRET]);
    const signature = await sign(keys, { id: "m", timestamp, body });
    expect(signature.split(" ")).toHaveLength(2);
    for (const secret of [SECRET, OTHER_SECRET]) {
      const headers = {
        "webhook-id": "m",
        "webhook-timestamp": String(timestamp),
        "webhook-signature": signature,
      };
      expect(new Webhook(secret).verify('{"a":1}', headers)).toEqual({ a: 1 });
    }
  });

  it("is refused for another body, another id or another time", async () => {
    const keys = await importSecrets([SECRET]);
    const signature = await sign(keys, { id: "m", timestamp, body: utf8.encode('{"a":1}') });
    const verify = (body: string, id: string, at: number) => () =>
      new Webhook(SECRET).verify(body, {
        "webhook-id": id,
        "webhook-timestamp": String(at),
        "webhook-signature": signature,
      });
    expect(verify('{"a":1}', "m", timestamp)).not.toThrow();
    expect(verify('{"a":2}', "m", timestamp)).toThrow();
    expect(verify('{"a":1}', "n", timestamp)).toThrow();
    expect(verify('{"a":1}', "m", timestamp - 1)).toThrow();
  });

  it("cannot be made with a secret that is not base64", async () => {
    const fault = await importSecrets(["whsec_not base64!"]).catch((error: unknown) => error);
    expect(fault).toBeInstanceOf(Error);
  });
});

describe("a request", () => {
  async function requestFor(asked: Parameters<World["callOf"]>[0]) {
    const call = new World().callOf(asked);
    const { push, retry } = call.settings;
    if (!push) throw new Error("not a push subscription");
    const endpoint = {
      origin: { topic: call.topic, subscription: call.subscription, partition: call.partition },
      push,
      keys: await importSecrets(push.secrets),
      minRetryMs: retry.minDelayMs,
    };
    const messages = unpackRecords(call.lease.records);
    const items = messages.map((message, offset) => ({ offset, attempt: 1, message }));
    return webhookRequest(endpoint, items, timestamp);
  }

  it("verifies at a receiver, with the message's own bytes as its body", async () => {
    const { headers, body } = await requestFor({ messages: [{ id: "evt_1", body: utf8.encode('{"a":1}') }] });
    expect(headers["webhook-id"]).toBe("evt_1");
    expect(new Webhook(SECRET).verify(new TextDecoder().decode(body), { ...headers })).toEqual({ a: 1 });
  });

  it("carries binary bytes untouched", async () => {
    const bytes = Uint8Array.from({ length: 256 }, (_, byte) => byte);
    const packed = unpackRecords(
      packRecords([{ id: "m", publishedAt: 0, contentType: "image/png", body: bytes }]),
    )[0];
    const { body } = await requestFor({ messages: [{ body: packed?.body ?? new Uint8Array() }] });
    expect([...body]).toEqual([...bytes]);
  });

  it("verifies for a batch too, whose id names its composition", async () => {
    const asked = { messages: [{}, { body: new Uint8Array([0xff]) }], push: { batchMaxMessages: 10 } };
    const { headers, body } = await requestFor(asked);
    const verified = new Webhook(SECRET).verify(new TextDecoder().decode(body), { ...headers });
    expect(verified).toMatchObject({
      messages: [
        { id: "m0", offset: 0, data: '{"n":0}' },
        { id: "m1", offset: 1, dataBase64: "/w==" },
      ],
    });
    expect(headers["content-type"]).toBe("application/vnd.pennypost.batch+json");
    expect(headers["webhook-id"]).toMatch(/^batch_[0-9a-f]{32}$/);
    expect((await requestFor(asked)).headers["webhook-id"]).toBe(headers["webhook-id"]);
    expect(await batchId("a")).not.toBe(await batchId("b"));
  });

  it("lets no header of the endpoint replace the signature or the id", async () => {
    const forged = { "Webhook-Id": "forged", "webhook-signature": "forged", "content-type": "forged" };
    const { headers } = await requestFor({ messages: [{}], push: { headers: { ...forged, "x-own": "1" } } });
    expect(Object.values(headers)).not.toContain("forged");
    expect(headers["x-own"]).toBe("1");
  });
});
