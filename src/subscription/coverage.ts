// Which offsets of a range are accounted for: one bit each, so that ten million of them fit in little memory. It
// notices the first that is accounted for twice.

import type { Run } from "./outcomes";

const BITS = 8;

export class Coverage {
  /** The first offset that was covered twice. */
  twice: number | undefined;
  private readonly bits: Uint8Array;

  constructor(
    private readonly from: number,
    private readonly to: number,
  ) {
    this.bits = new Uint8Array(Math.ceil((to - from) / BITS));
  }

  /** Covers the part of a run that lies in the range. Answers how many offsets that are. */
  cover({ first, count }: Run): number {
    const from = Math.max(first, this.from);
    const to = Math.min(first + count, this.to);
    for (let offset = from; offset < to; offset++) this.set(offset);
    return Math.max(0, to - from);
  }

  /** Offsets that nothing covers, rising. */
  *gaps(): Generator<number> {
    for (let offset = this.from; offset < this.to; offset++) {
      const at = offset - this.from;
      const byte = this.bits[Math.floor(at / BITS)] ?? 0;
      if ((byte & (1 << (at % BITS))) === 0) yield offset;
    }
  }

  private set(offset: number): void {
    const at = offset - this.from;
    const [place, bit] = [Math.floor(at / BITS), 1 << (at % BITS)];
    const byte = this.bits[place] ?? 0;
    if ((byte & bit) !== 0) this.twice = Math.min(this.twice ?? offset, offset);
    this.bits[place] = byte | bit;
  }
}
