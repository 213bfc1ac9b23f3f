"""epif with the leg to the proxy in clear, and nothing else asked for: flows share a trunk."""
from ._ours import Ours


class Competitor(Ours):
    title = "epif in clear"
    place = 31.5
