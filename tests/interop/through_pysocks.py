#!/usr/bin/python3
"""through_pysocks.py socks4|socks4a|socks5|socks5h PROXY PORT HOST PORT [USER PASSWORD]: stdin and stdout through PySocks."""
import sys

import socks

from pump import pump

scheme, proxy, proxy_port, host, port, *login = sys.argv[1:]
kind = socks.SOCKS4 if scheme.startswith("socks4") else socks.SOCKS5
try:
    # create_connection, since a bare socksocket is of one family and cannot reach a proxy of the other.
    made = socks.create_connection((host, int(port)), timeout=15, proxy_type=kind, proxy_addr=proxy, proxy_port=int(proxy_port),
                                   proxy_rdns=scheme in ("socks4a", "socks5h"), proxy_username=login[0] if login else None,
                                   proxy_password=login[1] if login else None)
except OSError as error:
    sys.exit(f"{type(error).__name__}: {error}")
pump(made)
