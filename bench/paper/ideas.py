"""What makes epif fast, idea by idea, and which words of the command line switch each on and off: a line each. Pure."""
import dataclasses


@dataclasses.dataclass(frozen=True)
class Idea:
    name: str
    title: str
    leg: str                 # "tls" or "clear", where it works; "both": alone it is tried with TLS
    redirect_on: tuple = ()  # words of `epif redirect` that switch it on, and those that switch it off
    redirect_off: tuple = ()
    proxy_on: tuple = ()     # of `epif proxy`
    proxy_off: tuple = ()
    route: tuple = ()        # fields of the proxy's route, ((name, value), ...), while it is on
    why: str = ""            # for the reader


IDEAS = (
    Idea("local-accept", "local accept", "both", redirect_off=("--first-bytes-wait", "0"), why="the request is in hand before the proxy is asked"),
    Idea("warm-pool", "warm pool", "both", redirect_on=("--warm", "8"), redirect_off=("--warm", "0"), why="connections to the proxy stand ready, TLS done"),
    Idea("fast-open", "Fast Open", "clear", redirect_on=("--fast-open",), route=(("replay_safe", True),),
         why="the request travels in the SYN, on both legs (with local accept, false start)"),
    Idea("pre-connect", "pre-connect", "both", route=(("preconnect", 8),), why="connections to the server stand ready"),
    Idea("false-start", "false start", "both", redirect_off=("--no-false-start",), why="the first bytes wait for no reply (with local accept)"),
    Idea("resumption", "session resumption", "tls", redirect_off=("--no-resumption",), proxy_off=("--no-resumption",),
         why="a later handshake checks no certificates"),
    Idea("splice", "splice", "clear", redirect_on=("--splice", "auto"), redirect_off=("--splice", "off"), proxy_on=("--splice", "auto"),
         proxy_off=("--splice", "off"), why="bulk data stay in the kernel"),
    Idea("trunk", "trunk", "both", redirect_on=("--trunk", "auto"), redirect_off=("--trunk", "off"), proxy_on=("--trunk", "auto"),
         proxy_off=("--trunk", "off"), why="many flows in one connection to the proxy"),
    Idea("connect-hook", "connect hook", "both", redirect_on=("--connect-hook", "auto"), redirect_off=("--connect-hook", "off"),
         why="programs come to the redirector without address translation"),
    Idea("threads", "threads", "both", redirect_on=("--threads", "0"), redirect_off=("--threads", "1"), proxy_off=("--threads", "1"),
         why="one a core at the proxy, one for two at the redirector"),
)
# What takes the place of others: in clear a request goes either in a SYN or over what stands ready. Not among all together.
INSTEAD = ("fast-open",)
# What an idea needs beside it to have any effect: what is sent early must be in hand.
NEEDS = {"false-start": ("local-accept",), "fast-open": ("local-accept", "false-start")}


def legs(idea):
    return ("tls", "clear") if idea.leg == "both" else (idea.leg,)


def words(on, leg, known_redirect, known_proxy):
    """(words of epif redirect, words of epif proxy, fields of the route) with the ideas named in `on` switched on, all others
    off. Switches that a program does not know are left out: see unknown()."""
    redirect, proxy, route = [], [], {}
    for idea in IDEAS:
        if leg not in legs(idea):
            continue
        is_on = idea.name in on
        redirect += _known(idea.redirect_on if is_on else idea.redirect_off, known_redirect)
        proxy += _known(idea.proxy_on if is_on else idea.proxy_off, known_proxy)
        route |= dict(idea.route) if is_on else {}
    return redirect, proxy, route


def _known(switch, known):
    return list(switch) if switch and switch[0] in known else []


def unknown(idea, known_redirect, known_proxy):
    """Switches of `idea` that the programs do not know: it cannot be told from the others then."""
    wrong = [f"epif redirect has no {switch[0]}" for switch in (idea.redirect_on, idea.redirect_off) if switch and switch[0] not in known_redirect]
    wrong += [f"epif proxy has no {switch[0]}" for switch in (idea.proxy_on, idea.proxy_off) if switch and switch[0] not in known_proxy]
    return list(dict.fromkeys(wrong))
