"""What the article itself reports (Sec. VI and VII), for comparison with what is measured here."""
DELTA_MS = ("in between NGINX < 1, SOCKS5 about 12 and growing fast with RTT_CP, SOCKS6 about 6",
            "triangle NGINX 2 to 21, SOCKS5 5 to 42, SOCKS6 4 to 32")
METHODS = ("NGINX", "SOCKS5", "SOCKS6")
# Table II: a tick means an advantage over the others.
TABLE_II = {"Δt": ("NGINX",), "processing rate": ("SOCKS6",), "port scalability": ("SOCKS5", "SOCKS6"),
            "reconfiguration": ("SOCKS5", "SOCKS6"), "dynamicity": ("SOCKS5", "SOCKS6"), "security": ("SOCKS5", "SOCKS6")}
