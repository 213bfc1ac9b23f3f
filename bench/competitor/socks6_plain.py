"""SOCKS6 with every accelerator off but threads: the article's own method."""
from ._ours import PLAIN, PLAIN_NOTE, PLAIN_PROXY, Ours


class Competitor(Ours):
    title = "SOCKS6 plain"
    method = "socks6"
    redirect_flags = PLAIN
    proxy_flags = PLAIN_PROXY
    note = PLAIN_NOTE
    place = 21
