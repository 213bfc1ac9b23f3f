"""epif with the leg to the proxy in clear: each request travels in a SYN of its own, without warm pool and trunk. What was measured until
commit aa25195 under this name went by a trunk after the first flow, with Fast Open to the server alone."""
from ._ours import Ours


class Competitor(Ours):
    title = "epif in clear, fast open"
    redirect_flags = ("--fast-open",)
    place = 32
