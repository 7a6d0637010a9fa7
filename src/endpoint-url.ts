// Which URLs a webhook may be sent to. The broker makes requests on behalf of whoever may create a subscription, so a
// URL must not reach what only the broker's own network can: checked when it is set and again before each dispatch.
// It looks at names only; that no name leads into a private network is left to the platform
// (`global_fetch_strictly_public`). In a deployment a URL is read in one way only: whatever two parsers could
// understand differently is refused, however harmless.

import { type BrokerError, refuse } from "./errors";
import { limits } from "./limits";
import { isPrivateName, isPublicIpv4 } from "./private-hosts";

export type UrlRules = Readonly<{
  /** Local development: http and this machine are allowed. */
  local: boolean;
  /** The broker's own hosts, in lower case; `*.example.com` stands for all below it. Not looked at when local. */
  ownHosts?: readonly string[];
  /** What the URL is called in the request; `endpoint.url` unless said. */
  field?: string;
}>;

/** Ports of protocols that can be made to misread an HTTP request, or that databases and caches listen on. */
const UNSAFE_PORTS: ReadonlySet<number> = new Set([
  ...[1433, 1521, 1719, 1720, 1723, 2049, 2181, 2375, 2376, 2379, 2380, 3306, 3389, 3659, 4045, 4190, 5060],
  ...[5061, 5432, 5672, 5900, 5984, 5985, 5986, 6000, 6379, 6443, 6566, 6665, 6666, 6667, 6668, 6669, 6679],
  ...[6697, 7000, 7001, 8500, 9042, 9092, 9200, 9300, 10080, 10250, 10255, 11211, 27017],
]);
/** Below this are the ports of system services; of those only https's own is left. */
const FIRST_FREE_PORT = 1_024;
const HTTPS_PORT = 443;

/** Whatever a parser may skip, or take for another character: controls, blanks, backslashes. */
const AMBIGUOUS = /[\p{Cc}\p{Zs}\p{Zl}\p{Zp}\\]/u;
const ABSOLUTE = /^([a-z][a-z0-9+.-]*):\/\/([^/?#]+)/i;
const LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
const TOP_LABEL = /^(?:[a-z]{2,63}|xn--[a-z0-9-]{1,59})$/;
const NAME_LENGTH = 253;
/** Never public either (RFC 6761), and what tests call their hosts. */
const RESERVED = /\.(?:test|invalid)$/;

/** What is wrong with `url` as a webhook's endpoint, if anything. `local` also allows http and this machine. */
export function checkEndpointUrl(
  url: string,
  { local, ownHosts = [], field = "endpoint.url" }: UrlRules,
): BrokerError | undefined {
  const fault = urlFault(url, local, ownHosts);
  if (fault === undefined) return undefined;
  const limit = fault === TOO_LONG ? { limit: limits.urlLength } : {};
  return refuse("invalid-request", fault, { field, ...limit }).error;
}

/** The host of a URL as the list of own hosts has it. */
export function hostOfUrl(url: string): string {
  return hostOf(new URL(url));
}

const TOO_LONG = `An endpoint's URL is at most ${limits.urlLength} characters.`;
const NOT_ABSOLUTE = "An endpoint's URL is absolute, like https://example.com/hooks.";

function urlFault(url: string, local: boolean, ownHosts: readonly string[]): string | undefined {
  if (url.length > limits.urlLength) return TOO_LONG;
  if (AMBIGUOUS.test(url) || !url.isWellFormed()) {
    return "An endpoint's URL has no blanks, control characters or backslashes.";
  }
  const [, , authority] = ABSOLUTE.exec(url) ?? [];
  if (authority === undefined || !URL.canParse(url)) return NOT_ABSOLUTE;
  const parsed = new URL(url);
  // Percent-encoding makes it longer than it was written, and that is what is sent.
  if (parsed.href.length > limits.urlLength) return TOO_LONG;
  if (parsed.protocol !== "https:" && !(local && parsed.protocol === "http:")) {
    return `An endpoint is reached over ${local ? "http or https" : "https"}.`;
  }
  if (authority.includes("@")) {
    return "An endpoint's URL carries no user name and no password: use the endpoint's headers.";
  }
  if (local) return localFault(parsed);
  return publicFault(parsed, authority.replace(/:\d*$/, "")) ?? ownFault(parsed, ownHosts);
}

function publicFault(parsed: URL, written: string): string | undefined {
  const host = hostOf(parsed);
  if (isIpLiteral(host)) return "An endpoint's URL names a host, not an IP address.";
  if (!isSpelledOut(written, parsed.hostname)) return "An endpoint's host is spelled as it is looked up.";
  if (!host.includes(".")) return "An endpoint's host is a full public name, like hooks.example.com.";
  if (!isHostName(host)) return "An endpoint's host is made of letters, digits and hyphens.";
  if (RESERVED.test(host)) return notPublic(host);
  return nameFault(host) ?? portFault(parsed);
}

/** Local development: this machine is fine, every other private place is still refused. */
function localFault(parsed: URL): string | undefined {
  const host = hostOf(parsed);
  if (parsed.port === "0") return portFault(parsed);
  if (isLoopback(host)) return undefined;
  if (!isIpLiteral(host)) return host.includes(".") ? nameFault(host) : notPublic(host);
  return !host.startsWith("[") && isPublicIpv4(host) ? undefined : notPublic(host);
}

/** A broker that sends to itself goes round for ever. */
function ownFault(parsed: URL, ownHosts: readonly string[]): string | undefined {
  const host = hostOf(parsed);
  const isOwn = ownHosts.some((own) => (own.startsWith("*.") ? host.endsWith(own.slice(1)) : host === own));
  return isOwn ? "An endpoint is not the broker itself." : undefined;
}

/** The host in the one spelling that is left once the URL was parsed, without the root's dot. */
function hostOf(parsed: URL): string {
  return parsed.hostname.toLowerCase().replace(/\.$/, "");
}

/**
 * Whether the host was written as it is looked up: not percent-encoded, not in digits or dots that only look like
 * ours. A label of another script is one that is looked up in its `xn--` form.
 */
function isSpelledOut(written: string, lookedUp: string): boolean {
  const [labels, found] = [written.split("."), lookedUp.split(".")];
  if (labels.length !== found.length) return false;
  return labels.every((label, index) => {
    const other = found[index] ?? "";
    return isAscii(label) ? label.toLowerCase() === other : other.startsWith("xn--");
  });
}

function isAscii(text: string): boolean {
  return !/[^\x20-\x7e]/.test(text);
}

function isHostName(host: string): boolean {
  const labels = host.split(".");
  return (
    host.length <= NAME_LENGTH &&
    labels.every((label) => LABEL.test(label)) &&
    TOP_LABEL.test(labels.at(-1) ?? "")
  );
}

function nameFault(host: string): string | undefined {
  return isPrivateName(host) ? notPublic(host) : undefined;
}

function portFault({ port }: URL): string | undefined {
  const number = port === "" ? HTTPS_PORT : Number(port);
  if (number === HTTPS_PORT || (number >= FIRST_FREE_PORT && !UNSAFE_PORTS.has(number))) return undefined;
  return `An endpoint is not reached at port ${port}.`;
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

function notPublic(host: string): string {
  return `An endpoint's host is public: ${host} is not.`;
}
