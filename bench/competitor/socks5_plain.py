"""SOCKS5 with every accelerator off but threads: the article's own method."""
from ._ours import PLAIN, PLAIN_NOTE, PLAIN_PROXY, Ours


class Competitor(Ours):
    title = "SOCKS5 plain"
    method = "socks5"
    redirect_flags = ("--socks", "5", *PLAIN)
    proxy_flags = PLAIN_PROXY
    note = PLAIN_NOTE
    place = 20
