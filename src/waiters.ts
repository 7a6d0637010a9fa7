// Long polls that wait for something to lease. A waiter says which news it has seen, so that news between
// its last look and its waiting is not missed.

export class Waiters {
  /** Rises whenever there may be something new to lease. */
  news = 0;
  private readonly waiting = new Set<() => void>();

  wakeAll(): void {
    this.news += 1;
    for (const wake of [...this.waiting]) wake();
  }

  /** Resolves at the next news after `seen`, or after `waitMs`. */
  wait(waitMs: number, seen: number): Promise<void> {
    if (this.news !== seen) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        this.waiting.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, waitMs);
      this.waiting.add(wake);
    });
  }
}
