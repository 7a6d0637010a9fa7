// Comparing what somebody says with what nobody else can know.

/** Compares in a time that tells nothing but the length, which is no secret. */
export function sameText(one: string, other: string): boolean {
  let different = one.length ^ other.length;
  for (let at = 0; at < other.length; at++) different |= (one.charCodeAt(at) | 0) ^ other.charCodeAt(at);
  return different === 0;
}
