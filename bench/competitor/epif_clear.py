"""epif with the leg to the proxy in clear, fast open."""
from ._ours import Ours


class Competitor(Ours):
    title = "epif in clear, fast open"
    redirect_flags = ("--fast-open",)
    place = 32
