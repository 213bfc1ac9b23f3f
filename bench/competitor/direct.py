"""No proxy: what all others are compared with."""
from . import Base


class Competitor(Base):
    title = "no proxy"
    method = "none"
    place = 0
