"""epif with TCP Fast Open to the server asked for."""
from ._ours import Ours


class Competitor(Ours):
    title = "epif, fast open"
    tls = True
    redirect_flags = ("--fast-open",)
    place = 31
