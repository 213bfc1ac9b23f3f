"""The article's SOCKS6 method in the authors' own programs; see _socksx.py."""
from ._socksx import Socksx


class Competitor(Socksx):
    title = "SOCKS6, authors' socksx"
    method = "socks6"
    version = 6
    place = 23
