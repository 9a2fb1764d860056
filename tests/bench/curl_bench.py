"""strict-curl beside curl: CPU and instructions per call, cold and warm, in alternating runs.

    ./build.sh bench curl [--quick]

cold: no answer is cached, so each call asks the responders on loopback; warm:
answers are on disk. CPU ratios are taken round by round against curl's call of
the same round. Instructions (user space, by callgrind) do not depend on what
else the machine does.
"""
import argparse
import os
import re
import shutil
import statistics
import subprocess
import tempfile
from pathlib import Path

from tests.lab import net
from tests.lab.curls import STRICT_CURL
from tests.lab.lab import Lab
from tests.lab.scenarios import NAME

SYSTEM_ROOTS = Path("/etc/ssl/certs/ca-certificates.crt")
VERSIONS = {"TLSv1.3": ["--tlsv1.3"], "TLSv1.2": ["--tls-max", "1.2"]}


def call(program, words, env):
    """CPU milliseconds of the program and all it starts."""
    child = subprocess.Popen([program, *words], env=env, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = status
    assert status == 0, words
    return (used.ru_utime + used.ru_stime) * 1000


def instructions(program, words, env):
    folder = Path(env["HOME"])
    out = folder / "callgrind.%p"
    subprocess.run(["valgrind", "-q", "--tool=callgrind", "--trace-children=yes",
                    f"--callgrind-out-file={out}", program, *words], env=env, check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    total = 0
    for path in folder.glob("callgrind.*"):
        found = re.search(r"^(?:totals|summary): (\d+)", path.read_text(), re.M)
        total += int(found[1]) if found else 0
        path.unlink()
    return total


def measure(title, words, env, rounds):
    cache = Path(env["HOME"]) / ".cache"
    times = {"curl": [], "strict-curl, warm": [], "strict-curl, cold": []}
    for _ in range(rounds):
        times["curl"].append(call("curl", words, env))
        shutil.rmtree(cache, ignore_errors=True)
        times["strict-curl, cold"].append(call(STRICT_CURL, words, env))
        times["strict-curl, warm"].append(call(STRICT_CURL, words, env))
    counts = {"curl": instructions("curl", words, env),
              "strict-curl, warm": instructions(STRICT_CURL, words, env)}
    shutil.rmtree(cache, ignore_errors=True)
    counts["strict-curl, cold"] = instructions(STRICT_CURL, words, env)
    for what, taken in times.items():
        ratio = statistics.median(a / b for a, b in zip(taken, times["curl"]))
        print(f"{title:24}{what:22}{statistics.median(taken):15.1f}"
              f"{statistics.quantiles(taken, n=10)[-1]:8.1f}{ratio:8.2f}"
              f"{counts[what]:15,}{counts[what] / counts['curl']:8.2f}")


def main():
    parser = argparse.ArgumentParser(prog="./build.sh bench curl",
                                     description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    rounds = 20 if parser.parse_args().quick else 200
    lab = Lab(scenarios=())
    peer = lab.peer("bench_curl")
    with lab, tempfile.TemporaryDirectory() as home:
        env = {"PATH": os.environ["PATH"], "HOME": home, "STRICT_TLS_POLICY": "fetch_deny=none"}
        print(f"{'':24}{'call':22}{'CPU ms, median':>15}{'p90':>8}{'ratio':>8}"
              f"{'instructions':>15}{'ratio':>8}")
        whole = Path(home) / "roots.pem"
        whole.write_text(SYSTEM_ROOTS.read_text() + peer.trust.read_text())
        for trust, roots in (("system's roots", whole), ("one root", peer.trust)):
            for version, more in VERSIONS.items():
                words = ["-sS", *more, "--cacert", str(roots), "--connect-to",
                         f"::{net.HOST}:{peer.backend.port}", f"https://{NAME}:{peer.backend.port}/"]
                measure(f"{version}, {trust}", words, env, rounds)


if __name__ == "__main__":
    main()
