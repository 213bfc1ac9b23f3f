"""epif as shipped: SOCKS6 over mutual TLS 1.3, warm pool."""
from ._ours import Ours


class Competitor(Ours):
    title = "epif"
    tls = True
    place = 30
