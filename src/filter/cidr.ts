// IP addresses in a range: `10.0.0.0/8`, `2001:db8::/32`. Only addresses as they are usually written count as such.

/** An address as 16-bit groups: two of IPv4, eight of IPv6. */
type Groups = readonly number[];

const GROUP_BITS = 16;
const IPV4_GROUPS = 2;
const IPV6_GROUPS = 8;
/** The longest text that is looked at: an IPv6 address takes 39 characters, with an IPv4 tail 45. */
const ADDRESS_LENGTH = 45;

/** Tells whether a text is an address in the range; undefined when `range` is none. */
export function cidrTest(range: string): ((text: string) => boolean) | undefined {
  const [address = "", prefix = "", ...more] = range.split("/");
  const base = groupsOf(address);
  if (!base || more.length > 0 || !/^\d{1,3}$/.test(prefix)) return undefined;
  const bits = Number(prefix);
  if (bits > base.length * GROUP_BITS) return undefined;
  return (text) => {
    const groups = groupsOf(text);
    return groups !== undefined && groups.length === base.length && sharesBits(base, groups, bits);
  };
}

function sharesBits(base: Groups, groups: Groups, bits: number): boolean {
  return base.every((group, i) => {
    const unused = Math.min(GROUP_BITS, Math.max(0, (i + 1) * GROUP_BITS - bits));
    return group >> unused === (groups[i] ?? 0) >> unused;
  });
}

function groupsOf(text: string): Groups | undefined {
  if (text.length > ADDRESS_LENGTH) return undefined;
  return text.includes(":") ? ipv6(text) : ipv4(text);
}

function ipv4(text: string): Groups | undefined {
  const parts = text.split(".");
  if (parts.length !== 2 * IPV4_GROUPS || !parts.every(isOctet)) return undefined;
  const [a = 0, b = 0, c = 0, d = 0] = parts.map(Number);
  return [a * 256 + b, c * 256 + d];
}

function isOctet(part: string): boolean {
  return /^(?:0|[1-9]\d{0,2})$/.test(part) && Number(part) <= 255;
}

function ipv6(text: string): Groups | undefined {
  const [before = "", after, ...more] = text.split("::");
  if (more.length > 0) return undefined;
  const [head, tail] = [hexGroups(before, after === undefined), hexGroups(after ?? "", true)];
  if (!head || !tail) return undefined;
  const missing = IPV6_GROUPS - head.length - tail.length;
  if (after === undefined ? missing !== 0 : missing < 1) return undefined;
  return [...head, ...Array<number>(missing).fill(0), ...tail];
}

/** Groups between colons; the last two of an address may be written as an IPv4 address. */
function hexGroups(text: string, isLast: boolean): number[] | undefined {
  if (text === "") return [];
  const groups: number[] = [];
  const parts = text.split(":");
  for (const [i, part] of parts.entries()) {
    const embedded = isLast && i === parts.length - 1 ? ipv4(part) : undefined;
    if (embedded) groups.push(...embedded);
    else if (/^[0-9a-f]{1,4}$/i.test(part)) groups.push(Number.parseInt(part, 16));
    else return undefined;
  }
  return groups;
}
