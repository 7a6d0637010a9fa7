// Which URLs a webhook may be sent to. The broker makes requests on behalf of whoever may create a
// subscription, so a URL must not reach what only the broker's own network can: checked when it is set and again
// before each dispatch. It looks at names only; that no name leads into a private network is left to the
// platform (`global_fetch_strictly_public`).

import { type BrokerError, refuse } from "./errors";
import { limits } from "./limits";

/** Names that stand for this machine or a private network, and services that turn any name into a private address. */
const PRIVATE_SUFFIXES = [
  "localhost",
  "localdomain",
  "local",
  "internal",
  "intranet",
  "private",
  "corp",
  "home",
  "lan",
  "home.arpa",
  "in-addr.arpa",
  "ip6.arpa",
  "onion",
  "nip.io",
  "sslip.io",
  "xip.io",
  "localtest.me",
  "lvh.me",
  "vcap.me",
];

/** Ports of protocols that can be made to misread an HTTP request: mail, shells, databases, caches. */
const UNSAFE_PORTS = new Set([
  0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104,
  109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 445, 465, 512, 513, 514,
  515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1433, 1521, 1719, 1720,
  1723, 2049, 2375, 2379, 3306, 3389, 3659, 4045, 4190, 5060, 5061, 5432, 5984, 6000, 6379, 6566, 6665, 6666,
  6667, 6668, 6669, 6679, 6697, 9200, 10080, 11211, 27017,
]);

/** What is wrong with `url` as a webhook's endpoint, if anything. `local` also allows http and this machine. */
export function checkEndpointUrl(url: string, { local }: { local: boolean }): BrokerError | undefined {
  if (url.length > limits.urlLength) {
    return refused(`An endpoint's URL is at most ${limits.urlLength} characters.`, limits.urlLength);
  }
  if (!URL.canParse(url)) return refused("An endpoint's URL is absolute, like https://example.com/hooks.");
  const parsed = new URL(url);
  if (parsed.protocol !== "https:" && !(local && parsed.protocol === "http:")) {
    return refused(
      local ? "An endpoint is reached over http or https." : "An endpoint is reached over https.",
    );
  }
  if (parsed.username !== "" || parsed.password !== "") {
    return refused("An endpoint's URL carries no user name and no password: use the endpoint's headers.");
  }
  return local ? checkLocalHost(parsed) : checkPublicHost(parsed);
}

function checkPublicHost(parsed: URL): BrokerError | undefined {
  const host = hostOf(parsed);
  if (isIpLiteral(host)) return refused("An endpoint's URL names a host, not an IP address.");
  if (!host.includes("."))
    return refused("An endpoint's host is a full public name, like hooks.example.com.");
  return checkName(host) ?? checkPort(parsed);
}

/** Local development: this machine is fine, every other private place is still refused. */
function checkLocalHost(parsed: URL): BrokerError | undefined {
  const host = hostOf(parsed);
  if (parsed.port === "0") return checkPort(parsed);
  if (isLoopback(host)) return undefined;
  if (!isIpLiteral(host)) return host.includes(".") ? checkName(host) : refusePrivate(host);
  return isPublicIpv4(host) ? undefined : refusePrivate(host);
}

/** The host in the one spelling that is left once the URL was parsed, without the root's dot. */
function hostOf(parsed: URL): string {
  return parsed.hostname.toLowerCase().replace(/\.$/, "");
}

function checkName(host: string): BrokerError | undefined {
  const isPrivate = PRIVATE_SUFFIXES.some((suffix) => host === suffix || host.endsWith(`.${suffix}`));
  return isPrivate ? refusePrivate(host) : undefined;
}

function checkPort(parsed: URL): BrokerError | undefined {
  if (parsed.port === "" || !UNSAFE_PORTS.has(Number(parsed.port))) return undefined;
  return refused(`An endpoint is not reached at port ${parsed.port}.`);
}

/** Every other spelling of an IPv4 address (decimal, hexadecimal, octal, short) is dotted once parsed. */
function isIpLiteral(host: string): boolean {
  return host.startsWith("[") || /^\d+\.\d+\.\d+\.\d+$/.test(host);
}

function isLoopback(host: string): boolean {
  return (
    host === "localhost" || host.endsWith(".localhost") || host === "[::1]" || /^127(\.\d+){3}$/.test(host)
  );
}

/** Whether an IPv4 address is outside the private, shared, link-local, test and reserved ranges (RFC 6890). */
function isPublicIpv4(host: string): boolean {
  if (host.startsWith("[")) return false;
  const [a = 0, b = 0, c = 0] = host.split(".").map(Number);
  if (a === 0 || a === 10 || a === 127 || a >= 224) return false;
  if (a === 100) return b < 64 || b > 127;
  if (a === 169) return b !== 254;
  if (a === 172) return b < 16 || b > 31;
  if (a === 192) return b !== 168 && !(b === 0 && (c === 0 || c === 2)) && !(b === 88 && c === 99);
  if (a === 198) return b !== 18 && b !== 19 && !(b === 51 && c === 100);
  if (a === 203) return !(b === 0 && c === 113);
  return true;
}

function refusePrivate(host: string): BrokerError {
  return refused(`An endpoint's host is public: ${host} is not.`);
}

function refused(detail: string, limit?: number): BrokerError {
  const more = { field: "endpoint.url", ...(limit !== undefined && { limit }) };
  return refuse("invalid-request", detail, more).error;
}
