// Rounds of one kind of work, never two at once. Who asks for one while another is under way has made a change which
// that one may have passed already: it looks once more before it ends.

/** `next` does a part of the work, and answers whether there may be more of it. */
export type RoundParts = Readonly<{ next: () => Promise<boolean>; isLive: () => boolean }>;

export class Rounds {
  private underWay: Promise<void> | undefined;
  private again = false;

  constructor(private readonly parts: RoundParts) {}

  /** Goes round until nothing is left to do, beginning after this call. Throws what the work threw. */
  async go(): Promise<void> {
    this.again = true;
    this.underWay ??= this.goAround().finally(() => {
      this.underWay = undefined;
    });
    await this.underWay;
  }

  private async goAround(): Promise<void> {
    const { next, isLive } = this.parts;
    while (this.again && isLive()) {
      this.again = false;
      while (await next());
    }
  }
}
