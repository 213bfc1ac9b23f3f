"""SOCKS6 with every accelerator off: the article's own method."""
from ._ours import Ours


class Competitor(Ours):
    title = "SOCKS6 plain"
    method = "socks6"
    redirect_flags = ("--warm", "0", "--no-false-start")
    place = 21
