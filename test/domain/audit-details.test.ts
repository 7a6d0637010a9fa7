// What the audit log says of a change: enough to see what was done, never a secret, never without bound.

import { describe, expect, it } from "vitest";
import { changedFields, shownFields } from "../../src/catalog/audit-details";
import { limits } from "../../src/limits";

const push = {
  url: "https://hooks.example.com/services/T0/secret-path?key=secret-key",
  headers: { authorization: "Bearer secret-header" },
  timeoutMs: 30_000,
  secrets: ["whsec_secret"],
};
const settings = { type: "push", retry: { maxAttempts: 20 }, paused: false, push };

describe("the details of a change", () => {
  it("are the fields that differ, with what they were and are", () => {
    const after = { ...settings, paused: true, retry: { maxAttempts: 5 } };
    expect(changedFields(settings, after)).toEqual({
      "retry.maxAttempts": { from: 20, to: 5 },
      paused: { from: false, to: true },
    });
  });

  it("say that a secret became another, and neither of them", () => {
    const after = {
      ...settings,
      push: {
        ...push,
        url: "https://hooks.example.com/other-secret-path",
        secrets: ["whsec_new-secret"],
        headers: { authorization: "Bearer new-secret" },
      },
    };
    const details = changedFields(settings, after);
    expect(details).toEqual({
      "push.url": { from: "https://hooks.example.com/…", to: "(another)" },
      "push.headers.authorization": { from: "(set)", to: "(another)" },
      "push.secrets": { from: "(set)", to: "(another)" },
    });
  });

  it("show of what comes or goes that it did", () => {
    expect(changedFields({}, { push: { auth: { password: "x" } }, maxRate: 5 })).toEqual({
      "push.auth.password": { to: "(set)" },
      maxRate: { to: 5 },
    });
    expect(changedFields({ idHeader: "x-id" }, {})).toEqual({ idHeader: { from: "x-id" } });
  });

  it("are empty when nothing differs", () => {
    expect(changedFields(settings, structuredClone(settings))).toEqual({});
  });

  it("hold no secret of what is created", () => {
    const details = shownFields(settings);
    expect(JSON.stringify(details)).not.toMatch(/secret(?!s)/);
    expect(details).toMatchObject({ type: "push", "push.url": "https://hooks.example.com/…", paused: false });
  });

  it("are bounded, whatever is changed", () => {
    const many = Object.fromEntries(
      Array.from({ length: 500 }, (_, i) => [`${i}-${"x".repeat(5_000)}`, "y".repeat(5_000)]),
    );
    const long = { keepHeaders: Array.from({ length: 32 }, () => "h".repeat(100)) };
    for (const details of [shownFields(many), changedFields({}, many), shownFields(long)]) {
      expect(JSON.stringify(details).length).toBeLessThan(
        limits.auditFields * (2 * limits.auditTextLength + 40),
      );
    }
    expect(shownFields(many)).toMatchObject({ fieldsLeftOut: 500 - limits.auditFields });
  });
});
