"""The article's SOCKS5 method in the authors' own programs; see _socksx.py."""
from ._socksx import Socksx


class Competitor(Socksx):
    title = "SOCKS5, authors' socksx"
    method = "socks5"
    version = 5
    place = 22
