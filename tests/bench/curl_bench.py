"""strict-curl beside curl: milliseconds per call, cold and warm, in alternating runs.

    ./build.sh bench curl [--quick]

cold: no answer is cached, so each call asks the responders on loopback; warm:
answers are on disk. Ratios are taken round by round against curl's call of the
same round.
"""
import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from tests.lab import net
from tests.lab.curls import STRICT_CURL
from tests.lab.lab import Lab
from tests.lab.scenarios import NAME

VERSIONS = {"TLSv1.3": ["--tlsv1.3"], "TLSv1.2": ["--tls-max", "1.2"]}


def call(program, words, env):
    began = time.perf_counter()
    subprocess.run([program, *words], env=env, check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - began) * 1000


def main():
    parser = argparse.ArgumentParser(prog="./build.sh bench curl",
                                     description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    rounds = 20 if parser.parse_args().quick else 200
    lab = Lab(scenarios=())
    peer = lab.peer("bench_curl")
    with lab, tempfile.TemporaryDirectory() as home:
        env = {"PATH": os.environ["PATH"], "HOME": home, "STRICT_TLS_POLICY": "fetch_deny=none"}
        cache = Path(home) / ".cache"
        print(f"{'':10}{'call':22}{'ms, median':>12}{'p90':>8}{'ratio':>8}")
        for version, more in VERSIONS.items():
            words = ["-sS", *more, "--cacert", str(peer.trust), "--connect-to",
                     f"::{net.HOST}:{peer.backend.port}", f"https://{NAME}:{peer.backend.port}/"]
            times = {"curl": [], "strict-curl, warm": [], "strict-curl, cold": []}
            for _ in range(rounds):
                times["curl"].append(call("curl", words, env))
                shutil.rmtree(cache, ignore_errors=True)
                times["strict-curl, cold"].append(call(STRICT_CURL, words, env))
                times["strict-curl, warm"].append(call(STRICT_CURL, words, env))
            for what, taken in times.items():
                ratio = statistics.median(a / b for a, b in zip(taken, times["curl"]))
                print(f"{version:10}{what:22}{statistics.median(taken):12.1f}"
                      f"{statistics.quantiles(taken, n=10)[-1]:8.1f}{ratio:8.2f}")


if __name__ == "__main__":
    main()
