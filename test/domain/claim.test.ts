// What a claimant is told, whatever it finds in the ledger.

import { describe, expect, it } from "vitest";
import { type Claim, claimAnswer, ledgerNamespace, pushNamespace } from "../../src/ledger/claim";

const held: Claim = {
  messageId: "m",
  state: "claimed",
  fence: 7,
  claimant: "a",
  leaseUntil: 1_000,
  fingerprint: "one",
  result: null,
  attempts: 2,
  retainUntil: 9_000,
};
const done: Claim = { ...held, state: "completed", result: "r" };

describe("the answer to a claim", () => {
  it("is the claim itself for its claimant", () => {
    expect(claimAnswer(held, { claimant: "a" })).toEqual({
      messageId: "m",
      state: "claimed",
      fence: 7,
      leaseUntil: 1_000,
      attempts: 2,
      retainUntil: 9_000,
    });
  });

  it("tells everyone else when the lease ends, and nothing about its holder", () => {
    expect(claimAnswer(held, { claimant: "b" })).toEqual({
      messageId: "m",
      state: "in-progress",
      leaseUntil: 1_000,
    });
  });

  it("is the stored result once completed, also for its claimant", () => {
    for (const claimant of ["a", "b"]) {
      expect(claimAnswer(done, { claimant })).toEqual({ messageId: "m", state: "completed", result: "r" });
    }
  });

  it("is `reused` for other content, whatever the state", () => {
    for (const row of [held, done]) {
      expect(claimAnswer(row, { claimant: "a", fingerprint: "two" })).toEqual({
        messageId: "m",
        state: "reused",
      });
    }
  });

  it("compares content only when both sides name it", () => {
    expect(claimAnswer(held, { claimant: "a", fingerprint: "one" }).state).toBe("claimed");
    expect(claimAnswer(held, { claimant: "a" }).state).toBe("claimed");
    expect(claimAnswer({ ...held, fingerprint: null }, { claimant: "a", fingerprint: "two" }).state).toBe(
      "claimed",
    );
  });
});

describe("namespaces", () => {
  it("keep a ledger over HTTP apart from every push subscription, whatever its name", () => {
    expect(pushNamespace("g", 3)).toBe("push:g:3");
    expect(ledgerNamespace("push:g:3")).not.toBe(pushNamespace("g", 3));
  });
});
