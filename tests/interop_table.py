"""Which client can what: a row for each client and scheme, with the cases that it can take part in. docs/interop.md shows it.

Cases that a client itself cannot do are left out of its row, and `cannot` says why. Schemes are curl's words: socks4 and
socks5 give the proxy an address (the client resolves names), socks4a and socks5h give it the name."""
import dataclasses
import typing

from interop_world import ECHO, HTTP, LOGIN, PROGRAMS

FOUR = ("IPv4", "name to IPv4", "refused", "host unreachable", "network unreachable", "password missing")
SIX = ("IPv6", "name to IPv6")
ENDS = ("client ends first", "server ends first", "server speaks first")
BY_NAME = ("name unknown",)
PROXY6 = ("proxy over IPv6",)
SECRET = ("password", "password wrong")
FIVE = FOUR + SIX + SECRET
ALL4, ALL4A = FOUR + ENDS + PROXY6, FOUR + ENDS + PROXY6 + BY_NAME
ALL5, ALL5H = FIVE + ENDS + PROXY6, FIVE + ENDS + PROXY6 + BY_NAME


def without(cases, *these):
    return tuple(case for case in cases if case not in these)


@dataclasses.dataclass
class Target:
    """Where a client shall connect to, through which proxy."""
    proxy: str
    proxy_port: int
    host: str
    port: int
    login: tuple = ()


@dataclasses.dataclass
class Client:
    """`words(world, scheme, target)` is its command line. It joins its stdin and stdout to the destination; curl alone speaks
    HTTP instead, so it posts its stdin. `says` tells what its stderr must hold in a case that fails, in SOCKS4 and in SOCKS5.
    `cannot` says what is left out of its rows, and why."""
    words: typing.Callable
    rows: dict
    says4: dict
    says5: dict
    env: dict = dataclasses.field(default_factory=dict)
    echo_port: int = ECHO
    cannot: str = ""


def bracketed(address):
    return f"[{address}]" if ":" in address else address


def version(scheme):
    return scheme[5]


def remote(scheme):
    return scheme[-1] in "ah"


def failures(refused, host, network, wrong, missing):
    return {"refused": refused, "host unreachable": host, "name unknown": host, "network unreachable": network,
            "password wrong": wrong, "password missing": missing}


def rejected(text):
    """SOCKS4 has one code for all failures."""
    return failures(text, text, text, None, text)


def curl(_, scheme, to):
    login = ":".join(to.login) + "@" if to.login else ""
    return ["curl", "-sS", "--fail", "--http1.0", "-H", "Expect:", "-x", f"{scheme}://{login}{bracketed(to.proxy)}:{to.proxy_port}",
            "--data-binary", "@-", f"http://{bracketed(to.host)}:{to.port}/"]


def ncat(_, scheme, to):
    login = ["--proxy-auth", ":".join(to.login)] if to.login else []
    return ["ncat", "-v", "--proxy-type", scheme[:6], "--proxy", f"{bracketed(to.proxy)}:{to.proxy_port}", *login,
            "--proxy-dns", "remote" if remote(scheme) else "local", to.host, to.port]


def netcat_openbsd(_, scheme, to):
    return ["nc.openbsd", "-N", "-X", version(scheme), "-x", f"{bracketed(to.proxy)}:{to.proxy_port}", to.host, to.port]


def connect_proxy(_, scheme, to):
    user, password = to.login or ("", "")
    return ["env", f"SOCKS5_PASSWORD={password}", "connect-proxy", "-" + version(scheme), "-R", "remote" if remote(scheme) else "local",
            "-S", f"{user + '@' if user else ''}{to.proxy}:{to.proxy_port}", to.host, to.port]


def proxychains(world, scheme, to):
    """A scheme of two words is a strict chain: the open proxy, then, through it, the locked one."""
    first, _, then = scheme.partition(" ")
    lines = [f"{first[:6]} {to.proxy} {to.proxy_port} {' '.join(to.login)}"]
    if then:
        lines.append(f"{then} {to.proxy} 1081 {' '.join(LOGIN)}")
    names = "proxy_dns\n" if remote(first) else ""
    path = world.file(f"proxychains-{'-'.join(map(str, [*scheme.split(), to.proxy_port, *to.login]))}",
                      f"strict_chain\n{names}[ProxyList]\n" + "\n".join(lines) + "\n")
    return ["proxychains4", "-f", path, "nc.openbsd", "-N", to.host, to.port]


def socksify_settings(world, scheme, to):
    """What comes before a program that shall go through the proxy of `to`."""
    user, password = to.login or ("", "")
    route = ("route {{ from: 0.0.0.0/0 to: {0} via: {1} port = {2}\n"
             " proxyprotocol: socks_v{3}\n method: {4}\n}}\n")
    text = "".join(route.format(to_all, to.proxy, to.proxy_port, version(scheme), "username" if to.login else "none")
                   for to_all in ("0.0.0.0/0", "."))
    path = world.file(f"dante-{scheme}-{to.proxy_port}-{user}-{password}",
                      f"logoutput: stderr\nresolveprotocol: {'fake' if remote(scheme) else 'udp'}\n{text}")
    return ["env", f"SOCKS_CONF={path}", "SOCKS_AUTOADD_LANROUTES=no", "SOCKS_DISABLE_THREADLOCK=1", f"SOCKS_USERNAME={user}",
            f"SOCKS_PASSWORD={password}", "socksify"]


def socksify(world, scheme, to):
    return [*socksify_settings(world, scheme, to), "nc.openbsd", "-v", "-N", to.host, to.port]


def library(*program):
    """A program of tests/interop: its library makes the connection."""
    return lambda _, scheme, to: [*program, scheme, to.proxy, to.proxy_port, to.host, to.port, *to.login]


def python_socks(_, scheme, to):
    flavour, scheme = scheme.split()
    return library("/usr/bin/python3", PROGRAMS / "through_python_socks.py", flavour)(_, scheme, to)


CLIENTS = {
    "curl": Client(
        curl, {"socks4": FOUR + PROXY6, "socks4a": FOUR + PROXY6 + BY_NAME,
               "socks5": FIVE + PROXY6, "socks5h": FIVE + PROXY6 + BY_NAME},
        rejected(r"\(97\).*SOCKS4.*\(91\)"),
        failures(r"\(97\).*\(5\)", r"\(97\).*\(4\)", r"\(97\).*\(3\)", r"\(97\) User was rejected", r"\(97\) No authentication method"),
        echo_port=HTTP, cannot="half-close: HTTP has none"),
    "ncat": Client(
        ncat, {"socks4": ALL4, "socks4a": ALL4A, "socks5": ALL5, "socks5h": ALL5H},
        rejected("Proxy connection failed"),
        failures("Connection refused", "Host unreachable", "Network unreachable", "authentication failed", "authentication")),
    "netcat-openbsd": Client(
        netcat_openbsd, {"socks4": ALL4, "socks5h": without(ALL5H, "password", "password wrong")},
        rejected("SOCKSv4 error: Request rejected or failed"),
        failures("SOCKSv5 error: Connection refused", "SOCKSv5 error: Host unreachable", "SOCKSv5 error: Network unreachable",
                 None, "authentication method negotiation failed"),
        cannot="send a password: its -P is for HTTP proxies"),
    "connect-proxy": Client(
        connect_proxy, {"socks4": without(FOUR + ENDS, "server ends first"), "socks4a": without(FOUR + ENDS + BY_NAME, "server ends first"),
                        "socks5": without(FIVE + ENDS, "server ends first", "name to IPv6"),
                        "socks5h": without(FIVE + ENDS + BY_NAME, "server ends first")},
        rejected("Got error response: 91"),
        failures(r"SOCKS server: 5 \(", r"SOCKS server: 4 \(", r"SOCKS server: 3 \(", "Authentication failed", "Authentication failed"),
        cannot="go on when the server has ended: it exits; resolve a name itself to IPv6; reach a proxy over IPv6"),
    "proxychains4": Client(
        proxychains, {"socks4": FOUR + ENDS, "socks4a": FOUR + ENDS + BY_NAME,
                      "socks5": without(FIVE + ENDS, "name to IPv6"), "socks5h": FIVE + ENDS + BY_NAME,
                      "socks4 socks5": FOUR + ENDS, "socks5 socks5": FOUR + ENDS + ("IPv6",)},
        rejected("<--denied"), failures(*["<--socket error or timeout"] * 3, *["<--denied"] * 2),
        cannot="resolve a name itself to IPv6; reach a proxy over IPv6"),
    "socksify": Client(
        socksify, {"socks4": FOUR + ENDS, "socks5": without(FIVE + ENDS, *SIX), "socks5h": FIVE + ENDS + BY_NAME},
        rejected("refused"), failures("Connection refused", "No route to host", "Network is unreachable", "rejected our username/password",
                                     "Connection refused"),
        cannot="speak SOCKS4A; use IPv6 sockets: it passes IPv6 on as text"),
    "PySocks": Client(
        library("/usr/bin/python3", PROGRAMS / "through_pysocks.py"),
        {"socks4": ALL4, "socks4a": ALL4A, "socks5": ALL5, "socks5h": ALL5H},
        rejected("0x5b: Request rejected or failed"),
        failures("0x05: Connection refused", "0x04: Host unreachable", "0x03: Network unreachable", "authentication failed",
                 "All offered SOCKS5 authentication methods were rejected")),
    "python-socks": Client(
        python_socks,
        {"sync socks4": ALL4, "sync socks4a": ALL4A,
         "sync socks5": without(ALL5, "server speaks first"), "sync socks5h": without(ALL5H, "server speaks first"),
         "sync.v2 socks5h": without(ALL5H, "server speaks first"),
         "asyncio socks4a": ALL4A, "asyncio socks5h": without(ALL5H, "server speaks first"),
         "asyncio.v2 socks4a": without(ALL4A, "server speaks first"), "asyncio.v2 socks5h": without(ALL5H, "server speaks first")},
        rejected("Request rejected or failed"),
        failures("Connection refused by destination", "Host unreachable", "Network unreachable", "authentication failure",
                 "authentication"),
        cannot="hear a server that speaks first in SOCKS5: it swallows what came in one segment with the reply (asyncio.v2 in SOCKS4A, too: "
               "its streams read ahead of whoever takes their socket)"),
    "IO::Socket::Socks": Client(
        library("perl", PROGRAMS / "through_perl.pl"), {"socks4": ALL4, "socks4a": ALL4A, "socks5": ALL5, "socks5h": ALL5H},
        rejected("request rejected or failed"),
        failures("Connection refused", "Host unreachable", "Network unreachable", "Authentication failed", "auth")),
    "node-socks": Client(
        library("node", PROGRAMS / "through_node.js"), {"socks4a": ALL4A, "socks5h": ALL5H},
        rejected(r"rejected connection - \(Failed\)"),
        failures("ConnectionRefused", "HostUnreachable", "NetworkUnreachable", "Authentication failed", "accepted auth"),
        env={"NODE_PATH": "/usr/share/nodejs"}, cannot="resolve a name itself"),
}

COLUMNS = {"IPv4": ("IPv4",), "IPv6": ("IPv6",), "name": ("name to IPv4", "name to IPv6"), "refused": ("refused",),
           "unreachable": ("host unreachable", "network unreachable"), "wrong password": ("password wrong",), "1 MB by hash": ("IPv4",),
           "client ends first": ("client ends first",), "server ends first": ("server ends first",)}


def table():
    """The clients as rows of markdown: what any of a client's schemes can do counts."""
    lines = ["| client | " + " | ".join(COLUMNS) + " | it cannot |", "| --- " * (len(COLUMNS) + 2) + "|"]
    for name, client in CLIENTS.items():
        able = {case for cases in client.rows.values() for case in cases}
        cells = ["yes" if able.issuperset(cases) else "-" for cases in COLUMNS.values()]
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {client.cannot} |")
    return "\n".join(lines) + "\n"
