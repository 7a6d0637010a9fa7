// The one source of chance: seeded, so that a seed is a run. And the hash of a trace, by which two runs compare.

/** Chance by sfc32 (Chris Doty-Humphrey's Small Fast Counter), seeded with one number. */
export class Chance {
  private a: number;
  private b: number;
  private c = 0x9e3779b9;
  private counter = 1;

  constructor(seed: number) {
    this.a = seed >>> 0;
    this.b = Math.imul(seed ^ 0x5bd1e995, 0x85ebca6b) >>> 0;
    for (let i = 0; i < 12; i++) this.next();
  }

  /** In [0, 1). */
  next(): number {
    const sum = (((this.a + this.b) | 0) + this.counter) | 0;
    this.counter = (this.counter + 1) | 0;
    this.a = this.b ^ (this.b >>> 9);
    this.b = (this.c + (this.c << 3)) | 0;
    this.c = (((this.c << 21) | (this.c >>> 11)) + sum) | 0;
    return (sum >>> 0) / 4294967296;
  }

  /** A whole number from 0 to `count` - 1. */
  below(count: number): number {
    return Math.floor(this.next() * count);
  }

  /** A whole number, both ends included. */
  between(least: number, most: number): number {
    return least + this.below(most - least + 1);
  }

  happens(probability: number): boolean {
    return this.next() < probability;
  }

  /** One of a list that is not empty. */
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T;
  }

  /** One of the names, by their weights. */
  weighted<K extends string>(weights: Readonly<Record<K, number>>): K {
    const entries = Object.entries(weights) as [K, number][];
    let at = this.next() * entries.reduce((sum, [, weight]) => sum + weight, 0);
    for (const [name, weight] of entries) {
      at -= weight;
      if (at < 0) return name;
    }
    return (entries.at(-1) as [K, number])[0];
  }
}

/** A running hash over what happened (FNV-1a, 32 bits twice). */
export class Trace {
  private one = 0x811c9dc5;
  private other = 0x1000193;
  /** The newest lines, for a failure to show. */
  readonly last: string[] = [];
  /** How many lines are kept. */
  keep = 60;

  add(line: string): void {
    for (let i = 0; i < line.length; i++) {
      this.one = Math.imul(this.one ^ line.charCodeAt(i), 0x01000193);
      this.other = Math.imul(this.other ^ line.charCodeAt(i), 0x85ebca6b);
    }
    this.last.push(line);
    if (this.last.length > this.keep * 2) this.last.splice(0, this.keep);
  }

  get hash(): string {
    return [this.one, this.other].map((half) => (half >>> 0).toString(16).padStart(8, "0")).join("");
  }
}
