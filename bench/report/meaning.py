"""What the figures mean, for docs/performance.md: words without numbers, which stand in the tables beside them."""
OPENING = (
    "These are the article's experiments with the article's methods, today's peers and epif side by side. `make bench` runs them on your "
    "machine, `make bench-quick` a short form; `bench/publish FOLDER` makes this page of the results. No number here is typed by hand.",)

MEANING = {
    "latency": "A new connection's request has to reach the proxy, go on to the server, and come back: RTT_CP + RTT_PS is the floor of any proxy. "
               "Without a proxy it takes two round trips to the server, since TCP shakes hands first. So a proxy that has its connections "
               "ready can be faster than none. NGINX, SOCKS5 and SOCKS6 shake hands on both legs, as the article's equations say; the table of the "
               "equations names who does not. epif accepts at the client, sends the request over a connection that stands already (warm pool, with TLS done), and "
               "has only the server's handshake left; with TCP Fast Open or pre-connect that goes, too, and what is left is the floor.",
    "rate": "Every request is a connection of its own, as in the article. Where no link has a delay this measures how much work a "
            "connection costs, not how long it takes. All parts share the cores, so the client's and the server's work is in every number; the CPU of the "
            "method's own programs says what it costs by itself. epif's flows share a few connections between redirector and proxy (trunks), "
            "so that leg costs them neither a connection nor a TLS handshake; stunnel makes both for each.",
    "keepalive": "Connections stay, so only the relaying counts. One hop (NGINX, HAProxy) has half of the work of two (redirector and proxy).",
    "throughput": "Bulk data. Encryption and the number of copies decide; the CPU for a GiB tells them apart where the rate does not.",
    "comparison": "The article's other parameters, tried instead of argued.",
    "planner": "What a change of nodes, policies or consents costs before anything is laid: the planner judges everything again each time.",
    "codec": "Reading a request costs next to nothing beside the sockets, and allocates nothing.",
    "ablation": "Each idea alone, against none of them. What saves round trips shows in the latency and nowhere else; what saves work shows "
                "in rate and throughput. Times as good: above 1 is a gain, below 1 a loss.",
    "streams": "Long connections with small messages, as monitors and wearables send them.",
    "chain": "What bridging functions in containers cost, by their number.",
    "setup": "How long the control plane takes.",
    "scale": "How many connections are held, and the memory of each.",
}
