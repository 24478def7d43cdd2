"""An independent timestamp authority: openssl's own, behind a small HTTP server on a free loopback port."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

Answer = Callable[[bytes], tuple[int, dict[str, str], bytes]]


def openssl(*arguments: str | Path) -> str:
    return subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, text=True).stdout


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """A timestamp authority on a free port that answers each POST by a function."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, headers, reply = answer(body)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(reply)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, format: str, *args: object) -> None:
            """A test's output is its assertions."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/tsr"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


TSA_CONFIG = """
[req]
distinguished_name = dn
prompt = no
[dn]
O = Independent
CN = {name}
[root]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
[leaf]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
[tsa]
default_tsa = tsa1
[tsa1]
serial = {folder}/serial
crypto_device = builtin
signer_cert = {folder}/leaf.crt
certs = {folder}/root.crt
signer_key = {folder}/leaf.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
ess_cert_id_chain = yes
ess_cert_id_alg = sha256
"""


def make(folder: Path) -> Path:
    """An authority that openssl alone makes: a root, a certificate for timestamps, a configuration."""
    for name in ("root", "leaf"):
        (folder / f"{name}.cnf").write_text(TSA_CONFIG.format(name=f"Independent {name}", folder=folder))
        config = ("-config", folder / f"{name}.cnf", "-extensions", name)
        sign = () if name == "root" else ("-CA", folder / "root.crt", "-CAkey", folder / "root.key")
        files = ("-keyout", folder / f"{name}.key", "-out", folder / f"{name}.crt")
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650", *config, *sign, *files)
    (folder / "serial").write_text("1000\n")
    return folder


def reply(folder: Path, request: bytes) -> bytes:
    """What ``openssl ts -reply`` answers."""
    (folder / "query.tsq").write_bytes(request)
    files = ("-queryfile", folder / "query.tsq", "-out", folder / "reply.tsr")
    openssl("ts", "-reply", "-config", folder / "leaf.cnf", *files)
    return (folder / "reply.tsr").read_bytes()


def granted(body: bytes) -> tuple[int, dict[str, str], bytes]:
    return 200, {"Content-Type": "application/timestamp-reply"}, body
