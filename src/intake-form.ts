// What a topic may ask of the messages that come to it: where a foreign sender keeps an id, an ordering key or a subject,
// and what the JSON of a body must look like.

/** A header of a single publish, or a place in a JSON body (RFC 6901). `required`: without it the message is refused. */
export type ValueSource = Readonly<
  ({ header: string; pointer?: never } | { pointer: string; header?: never }) & { required?: true }
>;

/** A JSON Schema as it was given; `schema/` says what may stand in it. */
export type JsonSchema = Readonly<Record<string, unknown>>;
