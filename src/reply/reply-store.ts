// The storage of one request and its replies: a key for the request, and one for each reply. Keys, and no tables: there is
// an object for every request, and making tables would be most of what it writes
// (docs/decisions/2026-11-24-a-request-has-an-object.md). Takes no decisions.

import type { Reply } from "../reply-calls";
import type { ReplyBook } from "./reply-book";

const REQUEST = "request";
const REPLY = "reply:";
const DIGITS = 4;

export class ReplyStore {
  constructor(private readonly storage: DurableObjectStorage) {}

  load(): ReplyBook | undefined {
    const request = this.storage.kv.get<Omit<ReplyBook, "replies">>(REQUEST);
    if (request === undefined) return undefined;
    const replies = [...this.storage.kv.list<Reply>({ prefix: REPLY })].map(([, reply]) => reply);
    return { ...request, replies };
  }

  /** One row. */
  saveRequest({ replies: _, ...request }: ReplyBook): void {
    this.storage.kv.put(REQUEST, request);
  }

  /** One row: the `number`th reply, from 0 on. */
  addReply(number: number, reply: Reply): void {
    this.storage.kv.put(`${REPLY}${String(number).padStart(DIGITS, "0")}`, reply);
  }

  async clear(): Promise<void> {
    await this.storage.deleteAll();
  }
}
