"""SOCKS5 with every accelerator off: the article's own method."""
from ._ours import Ours


class Competitor(Ours):
    title = "SOCKS5 plain"
    method = "socks5"
    redirect_flags = ("--socks", "5", "--warm", "0")
    place = 20
