// How large a JSON value is in what a validator's work goes by. Looking stops at the first level that is too deep.

export type Shape = Readonly<{
  /** Values, those inside others included. */
  values: number;
  /** Names in the object that has most. */
  widest: number;
  /** Characters of the longest name. */
  longestName: number;
}>;

/** The shape of `value`; undefined when it is nested more than `levels` deep. */
export function shapeOf(value: unknown, levels: number): Shape | undefined {
  const shape = { values: 0, widest: 0, longestName: 0 };
  return measure(value, levels, shape) ? shape : undefined;
}

type Counting = { -readonly [K in keyof Shape]: Shape[K] };

function measure(value: unknown, levels: number, shape: Counting): boolean {
  shape.values++;
  if (value === null || typeof value !== "object") return true;
  if (levels === 0) return false;
  if (Array.isArray(value)) return value.every((part) => measure(part, levels - 1, shape));
  const names = Object.keys(value);
  shape.widest = Math.max(shape.widest, names.length);
  for (const name of names) shape.longestName = Math.max(shape.longestName, name.length);
  return Object.values(value).every((part) => measure(part, levels - 1, shape));
}
