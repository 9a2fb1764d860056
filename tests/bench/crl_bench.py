"""How long a large CRL holds up an nginx worker while it arrives, or lies in a file, and is indexed.

    ./build.sh bench crl

The worker's event loop is watched from inside: the longest that it is away from
epoll_wait() is by how much a timer of the same worker can slip.
"""
import mmap
import struct
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.lab import crl, fronts, net
from tests.lab.lab import Lab
from tests.lab.nginx import BUILD, MODULE, ROOT, Nginx

ENTRIES = 750_000
PATIENT = {"short_lived_s": "0", "revocation_scope": "leaf", "fetch_total_ms": "120000",
           "crl_fetch_total_ms": "120000"}


def build_probe():
    library = BUILD / "bench/loop_probe.so"
    library.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror",
                    ROOT / "tests/bench/loop_probe.c", "-ldl", "-o", library], check=True)
    return library


class Loop:
    """The worst figures of an nginx's one worker, in milliseconds."""

    def __init__(self, front, prefix):
        self._path = Path(f"{prefix}.{front.worker_pids()[0]}")
        net.wait_until(self._path.exists, "the probe")

    def _page(self):
        with self._path.open("r+b") as file:
            return mmap.mmap(file.fileno(), 16)

    def clear(self):
        with self._page() as page:
            page[:16] = bytes(16)

    def worst(self):
        with self._page() as page:
            return [us / 1000 for us in struct.unpack("dd", page[:16])]


def tell(what, size, wall_ms, cpu_ms):
    print(f"| {what} | {size / 1e6:.1f} MB | {wall_ms:.1f} | {cpu_ms:.1f} |", flush=True)


def accepted(answer):
    return answer.headers.get("x-strict-tls-verdict") == "accept"


def main():
    probe = build_probe()
    entries = crl.many(ENTRIES)
    print(f"A CRL with {ENTRIES} entries and one nginx worker; longest absence from the event loop:\n")
    print("| what goes on | size | ms of wall clock | ms of CPU |\n|---|---|---|---|")
    with ExitStack() as stack:
        server = stack.enter_context(crl.CrlServer())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="strict-tls-bench-")))
        lab = Lab(scenarios=())
        stack.callback(lab.close)
        fetched = lab.peer("bench_fetched", ocsp="none", extra=[crl.point(server.url("big.crl"))])
        filed = lab.peer("bench_filed")
        stack.enter_context(lab)
        server.files["big.crl"] = crl.build(lab.pki["issuing"], entries=entries)
        file = crl.CrlFile(lab, folder / "crls.pem")
        front = Nginx(folder / "front", "front", module=MODULE, level="notice",
                      wrap=["env", f"LD_PRELOAD={probe}", f"LOOP_PROBE={folder}/loop"])
        port = net.free_port()
        front.configure(fronts.http(fronts.server(port, [
            fronts.location("/fetched", fetched, strict=True, policy=PATIENT),
            fronts.location("/filed", filed, strict=True,
                            policy={**PATIENT, "crl_file": str(file.path)})])))
        front.start([port])
        try:
            loop = Loop(front, f"{folder}/loop")
            assert accepted(net.get(port, "/filed"))
            loop.clear()
            for _ in range(50):
                assert accepted(net.get(port, "/filed"))
            tell("requests, no CRL", 0, *loop.worst())

            loop.clear()
            assert accepted(net.get(port, "/fetched", timeout_s=120))
            tell("it is fetched and indexed", len(server.files["big.crl"]), *loop.worst())

            staged = file.stage(entries=entries)
            size = staged.stat().st_size
            front.mark()
            loop.clear()
            staged.replace(file.path)
            net.wait_until(lambda: "CRLs read from" in front.new_errors(), "the file", 120, 0.2)
            tell("it is read from crl_file and indexed", size, *loop.worst())
        finally:
            front.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
