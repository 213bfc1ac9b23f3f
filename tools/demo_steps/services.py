"""The unmodified programs at the ends: Orthanc and dcmtk, nginx, MariaDB."""
import json
import os
import shutil
import subprocess
import urllib.request

from lab import Failure

CALLING_TITLE, CALLED_TITLE = "UMC_MODALITY", "RESEARCH_PACS"
DICOM_PORT, REST_PORT, WEB_PORT, DATABASE_PORT = 4242, 8042, 80, 3306
LONG_FILE_BYTES = 2_000_000_000


class Orthanc:
    """The PACS, with storage and configuration of its own."""

    def __init__(self, host):
        self.host, lab = host, host.lab
        config = {"Name": "research", "StorageDirectory": lab.path("orthanc", "storage"),
                  "IndexDirectory": lab.path("orthanc", "index"), "DicomAet": CALLED_TITLE, "DicomPort": DICOM_PORT,
                  "DicomCheckCalledAet": True, "DicomAlwaysAllowStore": True, "HttpPort": REST_PORT,
                  "RemoteAccessAllowed": False, "AuthenticationEnabled": False, "Plugins": [], "OverwriteInstances": True,
                  "LimitFindResults": 0, "ConcurrentJobs": 1, "HttpThreadsCount": 4, "TemporaryDirectory": lab.path("orthanc", "temporary", "x")[:-2]}
        with open(lab.path("orthanc", "orthanc.json"), "w", encoding="ascii") as out:
            json.dump(config, out, indent=2)
        self.process = host.start("Orthanc", lab.path("orthanc", "orthanc.json"), name="orthanc")
        host.wait_for_port(DICOM_PORT, within=60, process=self.process)
        host.wait_for_port(REST_PORT, within=60, process=self.process)

    def _rest(self, method, path):
        with self.host.inside():
            request = urllib.request.Request(f"http://127.0.0.1:{REST_PORT}{path}", method=method)
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.read()

    def instances(self):
        return json.loads(self._rest("GET", "/instances"))

    def download(self, folder):
        """All stored images as DICOM files."""
        os.makedirs(folder, exist_ok=True)
        files = []
        for instance in self.instances():
            files.append(os.path.join(folder, instance + ".dcm"))
            with open(files[-1], "wb") as out:
                out.write(self._rest("GET", f"/instances/{instance}/file"))
        return files

    def clear(self):
        for patient in json.loads(self._rest("GET", "/patients")):
            self._rest("DELETE", f"/patients/{patient}")


def send_images(host, address, files, timeout=90):
    """dcmtk's storescu, without any setting of a proxy. Returns the CompletedProcess."""
    return host.run("storescu", "-v", "-to", "10", "-ta", "20", "-aet", CALLING_TITLE, "-aec", CALLED_TITLE,
                    address, DICOM_PORT, *files, timeout=timeout, check=False)


def send_images_or_fail(host, address, files):
    done = send_images(host, address, files)
    if done.returncode != 0:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith(("E:", "F:"))]
        raise Failure(f"storescu ended with {done.returncode}: {'; '.join(lines) or 'no reason given'}")


def start_nginx(host):
    """A web server with one long file (sparse on disk, zeros on the wire)."""
    lab = host.lab
    with open(lab.path("nginx", "www", "long"), "wb") as out:
        out.truncate(LONG_FILE_BYTES)
    with open(lab.path("nginx", "www", "index.html"), "w", encoding="ascii") as out:
        out.write("reports of the research centre\n")
    root = lab.path("nginx", "x")[:-2]
    places = "".join(f"  {what}_temp_path {root}/{what};\n" for what in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    with open(lab.path("nginx", "nginx.conf"), "w", encoding="ascii") as out:
        out.write(f"user root;\nworker_processes 1;\ndaemon off;\npid {root}/pid;\nerror_log {root}/error.log;\n"
                  "events { worker_connections 512; }\nhttp {\n  access_log off;\n  sendfile on;\n" + places +
                  f"  server {{ listen {WEB_PORT}; listen [::]:{WEB_PORT}; root {root}/www; }}\n}}\n")
    process = host.start("nginx", "-c", f"{root}/nginx.conf", "-p", root, "-e", f"{root}/error.log", name="nginx")
    host.wait_for_port(WEB_PORT, process=process)
    return process


def start_mariadb(host):
    """A server-first service: it greets before the client says a word."""
    lab = host.lab
    data, sockets = lab.path("mariadb", "data", "x")[:-2], lab.path("mariadb", "socket")
    made = subprocess.run(["mariadb-install-db", "--no-defaults", "--user=root", f"--datadir={data}", "--skip-test-db",
                           "--auth-root-authentication-method=normal"], capture_output=True, text=True,
                          env={**os.environ, **lab.env})
    if made.returncode != 0:
        raise Failure(f"mariadb-install-db: {(made.stderr + made.stdout).strip()[-500:]}")
    with open(lab.path("mariadb", "start.sql"), "w", encoding="ascii") as out:
        out.write("CREATE USER registry@'%';\nCREATE DATABASE trial;\nCREATE TABLE trial.strokes (patient INT);\n"
                  "INSERT INTO trial.strokes VALUES (42),(43),(44),(45);\nGRANT SELECT ON trial.* TO registry@'%';\n")
    process = host.start("mariadbd", "--no-defaults", "--user=root", f"--datadir={data}", f"--socket={sockets}",
                         f"--port={DATABASE_PORT}", "--bind-address=*", "--skip-name-resolve", "--skip-log-bin",
                         f"--pid-file={lab.path('mariadb', 'pid')}", f"--tmpdir={data}",
                         f"--init-file={lab.path('mariadb', 'start.sql')}", "--innodb-buffer-pool-size=32M", name="mariadbd")
    host.wait_for_port(DATABASE_PORT, within=60, process=process)
    process.wait_for_log("ready for connections", within=60)
    return process


def ask_database(host, address, timeout=20):
    """The number of rows, by MariaDB's own client."""
    return host.run("mariadb", "--no-defaults", "--skip-ssl", "-h", address, "-P", DATABASE_PORT, "-u", "registry",
                    "--connect-timeout=10", "-N", "-B", "-e", "SELECT COUNT(*) FROM trial.strokes", timeout=timeout,
                    check=False)
