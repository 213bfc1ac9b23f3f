#!/usr/bin/python3
"""udp_pysocks.py socks5|socks5h PROXY PORT HOST PORT [USER PASSWORD]: stdin in datagrams through PySocks, and what comes back for
each to stdout."""
import socket
import sys

import socks

from datagrams import exchange

scheme, proxy, proxy_port, host, port, *login = sys.argv[1:]
try:
    made = socks.socksocket(socket.AF_INET6 if ":" in proxy else socket.AF_INET, socket.SOCK_DGRAM)
    made.set_proxy(socks.SOCKS5, proxy, int(proxy_port), scheme == "socks5h", *login)
    exchange(lambda data: made.sendto(data, (host, int(port))), made)
except OSError as error:
    sys.exit(f"{type(error).__name__}: {error}")
