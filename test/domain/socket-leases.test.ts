// The ids of leases on sockets: each its own, and known to be that socket's after memory was lost.

import { v7 } from "uuid";
import { describe, expect, test } from "vitest";
import { isLeaseOf, leaseIdOf, openSocket } from "../../src/subscription/socket";

const NOW = 1_764_000_000_000;
const socketOf = (seq: number) => openSocket(v7({ msecs: NOW, seq }), { credit: 1 }, NOW);

describe("the leases of a socket", () => {
  test("differ, though they are made in one millisecond", () => {
    const socket = socketOf(0);
    const ids = Array.from({ length: 1_000 }, (_, seq) => leaseIdOf(socket, v7({ msecs: NOW, seq })));
    expect(new Set(ids).size).toBe(ids.length);
  });

  test("are known to be its own, and not another's", () => {
    const [one, other] = [socketOf(0), socketOf(1)];
    const id = leaseIdOf(one, v7({ msecs: NOW, seq: 2 }));
    expect([isLeaseOf(one, id), isLeaseOf(other, id)]).toEqual([true, false]);
    expect(isLeaseOf(one, v7())).toBe(false);
  });

  test("have ids of the form of any other", () => {
    expect(leaseIdOf(socketOf(0), v7())).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  });
});
