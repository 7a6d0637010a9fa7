// Reading rows up to a number of bytes. Sizes are read first and the rows whole: a cursor that is left half-read
// stays open until it is collected, and while one is open no table can be dropped.

/** The first of `sizes` that together take at most `maxBytes`; at least one, whatever its size. */
export function fitting<Row extends Readonly<{ bytes: number }>>(
  sizes: readonly Row[],
  maxBytes: number,
): readonly Row[] {
  let bytes = 0;
  const end = sizes.findIndex((row, i) => {
    bytes += row.bytes;
    return i > 0 && bytes > maxBytes;
  });
  return end < 0 ? sizes : sizes.slice(0, end);
}
