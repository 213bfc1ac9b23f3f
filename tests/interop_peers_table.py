"""What programs of other makes can before, behind and between ours: a row for each program and place, as docs/interop.md shows it. Tests of
interop_peers.py and interop_between.py hold what they have seen against their rows."""
import dataclasses

from lab import equal

COLUMNS = ("IPv4", "IPv6", "name", "refused", "unreachable", "wrong password", "1 MB by hash", "client ends first", "server ends first")
SIX, SECRET, ENDS = ("IPv6",), ("wrong password",), ("client ends first", "server ends first")


@dataclasses.dataclass
class Row:
    program: str
    place: str
    cannot: tuple = ()  # columns
    why: str = ""

    @property
    def able(self):
        return set(COLUMNS) - set(self.cannot)


def held_against(name, seen):
    """What tests have seen of the program of row `name` is what the row says that it can."""
    row = ROWS[name]
    equal(seen, row.able, f"what was seen of {row.program} as {row.place}")


def table():
    lines = ["| program | as | " + " | ".join(COLUMNS) + " | it cannot |", "| --- " * (len(COLUMNS) + 3) + "|"]
    for row in ROWS.values():
        cells = ["-" if column in row.cannot else "yes" for column in COLUMNS]
        lines.append(f"| {row.program} | {row.place} | " + " | ".join(cells) + f" | {row.why} |".replace(" |  |", " | |"))
    return "\n".join(lines) + "\n"


ROWS = {
    "ssh": Row("ssh, scp", "client of `epif proxy`, by ProxyCommand", (),
        "end its own connection one way: it carries such ends as messages, and those of what goes through its -D are "
        "tested"),
    "ssh behind": Row("ssh, scp", "client behind `epif redirect`", (),
        "as above"),
    "ssh -D": Row("ssh -D", "proxy of `epif redirect --socks 5`", SECRET,
        "ask for a password: it takes whom ssh lets in, and one that is offered changes nothing"),
    "ssh -L": Row("ssh -L", "between redirector and proxy, in clear and under TLS"),
    "danted": Row("dante-server", "proxy of `epif redirect --socks 5`"),
    "danted five": Row("dante-server", "between redirector and proxy, SOCKS5 above it", (),
        'pass on what comes in one piece with the reply above it, so no server that speaks first; pass on a name that it '
        'cannot resolve itself; say why when the proxy above wants another password: it says "refused"'),
    "danted four": Row("dante-server", "between redirector and proxy, SOCKS4 above it", SIX + SECRET,
        "as above; IPv6 and passwords: SOCKS4 has none"),
    "microsocks": Row("microsocks", "proxy of `epif redirect --socks 5`", ENDS,
        "half-close: one end is both for it; that shows at once and hangs nothing"),
    "redsocks": Row("redsocks", "redirector before `epif proxy`", SIX,
        "IPv6, to capture or to reach a proxy: it takes no such address in its configuration; give the proxy a name: its "
        "clients resolve for themselves, through it over TCP; end with a reset what it cannot carry"),
    "haproxy four": Row("haproxy", "client of `epif proxy` by SOCKS4", SIX + SECRET,
        "SOCKS4A and 5: it resolves names itself, cuts an IPv6 address of a server to four bytes (its own clients may use"
        " IPv6), and sends no password, so that a proxy that wants one refuses it; tell one failure from another: each "
        "ends its client without a byte"),
    "balancers": Row("haproxy, nginx stream", "between redirector and proxy, in clear and under TLS"),
    "haproxy web": Row("haproxy", "web server behind `epif proxy`", ("server ends first",),
        "hear a client after its own end: it resets it, or leaves what comes unread until its timeout"),
    "nginx web": Row("nginx", "web server behind `epif proxy`", (),
        "go on, when its client ends, with what it could not send at once, so that end is tested with a short answer; "
        "hear a client after its own end, unless `lingering_close always`"),
    "nginx proxy": Row("nginx", "HTTP proxy behind `epif proxy`, for `curl --preproxy`", ENDS,
        "half-close: curl has none, and the row above shows that of the same nginx"),
}
