"""Starts the daemons of other makes that the interop tests set before, behind and between ours: each in a node, in the
foreground, with its whole configuration in the lab's folder."""
import os
import pathlib
import subprocess
import threading

REDSOCKS, SSH = 12345, 2022
NAME, NAMED = "server.far.example", "10.2.0.20"  # what the servers below resolve, and nobody else
NAME6, NAMED6 = "server6.far.example", "fd02::20"


_writing = threading.Lock()


def write(lab, name, text):
    """A file in the lab's folder, at once whole: others may read an earlier one. One that says the same already stays, since somebody may
    be about to mount it."""
    path = pathlib.Path(lab.path(name))
    with _writing:
        if not path.exists() or path.read_text(encoding="ascii") != text:
            new = path.with_name(f"{path.name}.new")
            new.write_text(text, encoding="ascii")
            os.replace(new, path)
    return str(path)


def danted(lab, node, port=1085, method="none", upstream="", devices=(), version=5, login=(), knows=True):
    """A SOCKS4 and SOCKS5 server. `upstream`, ADDR:PORT, is the proxy that it asks in turn by SOCKS of `version`, with `login`; it takes
    that only when its own method is username. Then its user is ann:secret, a user of a system of its own, since danted asks the
    system's password file. `knows`: whether it can resolve NAME."""
    routes = ""
    if upstream:
        host, _, upstream_port = upstream.rpartition(":")
        routes = "".join(f"route {{ from: 0.0.0.0/0 to: {every} via: {host} port = {upstream_port}\n proxyprotocol: socks_v{version}\n"
                         f" method: {'username' if login else 'none'}\n}}\n" for every in ("0.0.0.0/0", "::/0"))
    settings = write(lab, f"danted-{port}.conf", "logoutput: stderr\nuser.privileged: root\nuser.unprivileged: nobody\n" +
                     f"internal: 0.0.0.0 port = {port}\n" + "".join(f"external: {device}\n" for device in devices) +
                     f"external.rotation: route\nclientmethod: none\nsocksmethod: {method}\n" +
                     "client pass { from: 0.0.0.0/0 to: 0.0.0.0/0\n}\n" +
                     "".join(f"socks pass {{ from: 0.0.0.0/0 to: {every}\n}}\n" for every in ("0.0.0.0/0", "::/0")) + routes)
    command = ["danted", "-N", "1", "-f", settings, "-p", lab.path(f"danted-{port}.pid")]
    if method == "username":
        command = with_user(lab, "ann", "secret", command)
    secret = dict(zip(("SOCKS_USERNAME", "SOCKS_PASSWORD"), login))
    process = node.start(*(with_name(lab, command) if knows else command), name=f"danted-{port}", env=secret)
    node.wait_for_port(port, process=process)
    return process


def with_user(lab, name, password, command):
    """The command line that runs `command` where /etc/passwd and /etc/shadow have one user more."""
    crypted = subprocess.run(["openssl", "passwd", "-6", password], capture_output=True, text=True, check=True).stdout.strip()
    files = []
    for path, line in (("/etc/passwd", f"{name}:x:64000:65534::/nonexistent:/usr/sbin/nologin\n"),
                       ("/etc/shadow", f"{name}:{crypted}:19000::::::\n")):
        with open(path, encoding="utf-8") as file:
            files.append(write(lab, os.path.basename(path), file.read() + line))
    mounts = 'mount --bind "$0" /etc/passwd && mount --bind "$1" /etc/shadow && shift && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", mounts, *files, *command]


def with_name(lab, command):
    """The command line that runs `command` where NAME and NAME6 are known."""
    return ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"',
            write(lab, "hosts-far", f"127.0.0.1 localhost\n{NAMED} {NAME}\n{NAMED6} {NAME6}\n"), *map(str, command)]


def with_resolver(lab, address, command, options=""):
    """The command line that runs `command` where the resolver is at `address`. `options`: more lines of resolv.conf."""
    return ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/resolv.conf && exec "$@"',
            write(lab, "resolv.conf", f"nameserver {address}\n{options}"), *map(str, command)]


def microsocks(lab, node, port=1086, login=()):
    secret = ["-u", login[0], "-P", login[1]] if login else []
    process = node.start(*with_name(lab, ["microsocks", "-i", "0.0.0.0", "-p", port, *secret]), name=f"microsocks-{port}")
    node.wait_for_port(port, process=process)
    return process


def redsocks_settings(kind, host, port, local="127.0.0.1", more=""):
    return ("base { log_debug = off; log_info = on; log = stderr; daemon = off; redirector = iptables; }\n"
            f'redsocks {{ local_ip = "{local}"; local_port = {REDSOCKS}; ip = "{host}"; port = {port}; type = {kind}; {more} }}\n')


def redsocks(lab, node, kind, proxy, login=(), capture="10.2.0.0/24"):
    """Redirects what `node` itself opens to `capture` to the proxy, ADDR:PORT; SOCKS of `kind` socks4 or socks5."""
    host, _, port = proxy.rpartition(":")
    secret = f'login = "{login[0]}"; password = "{login[1]}";' if login else ""
    settings = write(lab, f"redsocks-{kind}.conf", redsocks_settings(kind, host, port, more=secret))
    node.run("nft", "add table ip redsocks\ndelete table ip redsocks\ntable ip redsocks {\nchain out {\ntype nat hook output priority -100\n"
             f"ip daddr {capture} tcp dport != 1080-1089 redirect to :{REDSOCKS}\n}}\n}}\n")
    process = node.start("redsocks", "-c", settings, name=f"redsocks-{kind}")
    node.wait_for_port(REDSOCKS, process=process)
    return process


def redsocks_udp(lab, node, proxy, destination, login=()):
    """What arrives at 127.0.0.1, UDP port REDSOCKS, goes to `destination` by UDP ASSOCIATE of the SOCKS5 proxy; both ADDR:PORT."""
    (host, _, port), (dest, _, dest_port) = proxy.rpartition(":"), destination.rpartition(":")
    secret = f'login = "{login[0]}"; password = "{login[1]}";' if login else ""
    settings = write(lab, f"redsocks-udp-{port}.conf",
                     "base { log_debug = off; log_info = on; log = stderr; daemon = off; redirector = generic; }\n"
                     f"redudp {{ local_ip = 127.0.0.1; local_port = {REDSOCKS}; ip = {host}; port = {port}; {secret}\n"
                     f"dest_ip = {dest}; dest_port = {dest_port}; udp_timeout = 30; udp_timeout_stream = 60; }}\n")
    process = node.start("redsocks", "-c", settings, name=f"redsocks-udp-{port}")
    process.wait_for_log("started")
    return process


def haproxy(lab, node, text, port):
    """`text`: frontends, backends and listens; listens in the end on `port`. It resolves names once, when it starts."""
    settings = write(lab, f"haproxy-{port}.cfg", "global\n  log stderr local0\n  maxconn 500\n"
                     "defaults\n  timeout connect 5s\n  timeout client 20s\n  timeout server 20s\n" + text)
    process = node.start(*with_name(lab, ["haproxy", "-db", "-f", settings]), name=f"haproxy-{port}")
    node.wait_for_port(port, process=process)
    return process


def nginx(lab, node, text, port):
    """`text`: the http or stream block."""
    folder = lab.path(f"nginx-{port}", "x")[:-2]
    module = "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n" if text.startswith("stream") else ""
    settings = write(lab, f"nginx-{port}.conf", f"{module}daemon off; user root; worker_processes 1; pid {folder}/pid; error_log stderr;\n"
                     f"events {{ worker_connections 256; }}\n{text}")
    process = node.start("nginx", "-p", folder, "-e", "stderr", "-c", settings, name=f"nginx-{port}")
    node.wait_for_port(port, process=process)
    return process


def sshd(lab, node):
    """An sshd with keys of its own; the options with which ssh reaches it as root@server."""
    for name in ("host", "user"):
        node.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", lab.path(name))
    with open(lab.path("host.pub"), encoding="ascii") as key:
        known = write(lab, "known_hosts", "server " + key.read())
    settings = write(lab, "sshd_config", f"Port {SSH}\nHostKey {lab.path('host')}\nAuthorizedKeysFile {lab.path('user.pub')}\n"
                     "StrictModes no\nPermitRootLogin prohibit-password\nUsePAM yes\nPidFile none\nPrintMotd no\n"
                     "Subsystem sftp internal-sftp\n")
    os.makedirs("/run/sshd", exist_ok=True)  # it wants this folder
    process = node.start(*with_name(lab, ["/usr/sbin/sshd", "-D", "-e", "-f", settings]), name="sshd")
    node.wait_for_port(SSH, process=process)
    return ["-F", "none", "-i", lab.path("user"), "-o", "BatchMode=yes", "-o", f"UserKnownHostsFile={known}", "-o", "HostKeyAlias=server",
            "-o", "StrictHostKeyChecking=yes", "-o", "ControlMaster=no"]
