// Names that lead, or may lead, where only the broker's own network reaches: this machine, private networks, the
// metadata services of clouds, and public services that turn any name into a private address.

/** Ends of names that no public DNS answers for, or that are answered with this machine's or a private address. */
const PRIVATE_SUFFIXES: ReadonlySet<string> = new Set([
  // Kept for special use (RFC 6761, 6762, 7686, 8375, 9476), and never a public host.
  ...["localhost", "local", "onion", "alt", "arpa"],
  // What routers, companies and container networks call their own; ICANN delegates none of them.
  ...["internal", "intranet", "private", "corp", "home", "lan", "localdomain", "localnet", "dhcp"],
  ...["mail", "belkin", "workgroup", "docker", "consul", "svc", "default", "flycast", "i2p"],
  ...["fritz.box", "oraclevcn.com"],
  // Metadata services that have a public name.
  ...["metadata.goog", "metadata.tencentyun.com"],
  // Every name below these is this machine, or the address that the name itself spells.
  ...["nip.io", "sslip.io", "xip.io", "xip.name", "backname.io", "traefik.me", "local.gd", "lcl.host"],
  ...["localtest.me", "lvh.me", "vcap.me", "fuf.me", "lacolhost.com", "localho.st", "localh.st"],
  ...["localdev.me", "smackaho.st", "bugbounty.dod.network", "spoofed.burpcollaborator.net"],
  // These answer one address when they are checked and another when they are used.
  ...["1u.ms", "rbndr.us"],
]);

/** `10.0.0.1` or `10-0-0-1` anywhere in a name: what a wildcard DNS service of any other name would be asked. */
const SPELLED_IPV4 = /(?:^|[.-])(\d{1,3})[.-](\d{1,3})[.-](\d{1,3})[.-](\d{1,3})(?=[.-]|$)/g;

/** Whether a name, in lower case and without the root's dot, stands for a private place or spells its address. */
export function isPrivateName(host: string): boolean {
  const labels = host.split(".");
  if (labels.some((_, first) => PRIVATE_SUFFIXES.has(labels.slice(first).join(".")))) return true;
  return [...host.matchAll(SPELLED_IPV4)].some(([, ...parts]) => !isPublicIpv4(parts.join(".")));
}

/** Whether a dotted IPv4 address is outside the private, shared, link-local, test and reserved ranges (RFC 6890). */
export function isPublicIpv4(address: string): boolean {
  const [a = 0, b = 0, c = 0] = address.split(".").map(Number);
  if (a === 0 || a === 10 || a === 127 || a >= 224) return false;
  if (a === 100) return b < 64 || b > 127;
  // The one address of Azure's platform that is not in a private range.
  if (a === 168) return address !== "168.63.129.16";
  if (a === 169) return b !== 254;
  if (a === 172) return b < 16 || b > 31;
  if (a === 192) return b !== 168 && !(b === 0 && (c === 0 || c === 2)) && !(b === 88 && c === 99);
  if (a === 198) return b !== 18 && b !== 19 && !(b === 51 && c === 100);
  if (a === 203) return !(b === 0 && c === 113);
  return true;
}
