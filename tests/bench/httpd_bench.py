"""Strict beside stock beside unverified httpd, on this machine, in alternating runs.

    ./build.sh bench            the table, behind nginx's
    ./build.sh bench --quick    fewer and shorter runs

One child with a few threads; the strict one is warm.  Figures as in nginx_bench.
"""
import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from tests.bench.nginx_bench import VARIANTS, BenchLab, measure, spread, wrk
from tests.lab import httpd_fronts, net
from tests.lab.httpd import MODULE, Httpd
from tests.lab.scenarios import NAME

MODES = {"full handshakes": "disablereuse=on", "keepalive": ""}
THREADS = 16


def verification(variant, trust):
    return {"stock": httpd_fronts.stock_lines(trust),
            "strict": f"StrictTLS on\nStrictTLSTrustedCertificate {trust}\n"
                      "StrictTLSFetchDeny none\n",
            "off": "SSLProxyVerify none\nSSLProxyCheckPeerName off\nSSLProxyCheckPeerExpire off\n",
            }[variant]


class Front:
    """One httpd with one child for one variant."""

    def __init__(self, folder, variant, scene):
        self.ports = {}
        text = []
        for protocol in ("TLSv1.2", "TLSv1.3"):
            for mode, parameters in MODES.items():
                port = net.free_port()
                text.append(httpd_fronts.vhost(
                    port, [f"ProxyPass / {httpd_fronts.url_of(scene, NAME)}/ {parameters}\n"],
                    protocols=protocol, extra=verification(variant, scene.trust)))
                self.ports[protocol, mode] = port
        self.httpd = Httpd(Path(folder) / f"httpd-{variant}", f"httpd-{variant}", hosts=[NAME],
                           level="crit", threads=THREADS,
                           module=MODULE if variant == "strict" else None)
        self.httpd.configure("".join(text), main="KeepAlive on\nMaxKeepAliveRequests 0\n")
        self.httpd.start(list(self.ports.values()))

    def cpu_s(self):
        """Seconds that the child's threads have spent on a processor."""
        (pid,) = self.httpd.child_pids()
        return sum(int((task / "schedstat").read_text().split()[0])
                   for task in Path(f"/proc/{pid}/task").iterdir()) / 1e9


def compare(fronts, rounds, seconds):
    print("| protocol | connections | variant | CPU us/request | requests/s | p50 us | p99 us "
          "| CPU / stock | rate / stock |")
    print("|---|---|---|---|---|---|---|---|---|")
    for key in fronts["stock"].ports:
        runs = {variant: [] for variant in VARIANTS}
        for variant in VARIANTS:
            wrk(fronts[variant].ports[key], 1)  # warm
        for number in range(rounds):
            for variant in VARIANTS if number % 2 == 0 else VARIANTS[::-1]:
                front = fronts[variant]
                runs[variant].append(measure(front, front.ports[key], seconds))
        for variant in VARIANTS:
            middle = {field: statistics.median(run[field] for run in runs[variant])
                      for field in ("cpu_us", "rate", "p50_us", "p99_us")}
            ratios = {field: [mine[field] / stock[field]
                              for mine, stock in zip(runs[variant], runs["stock"])]
                      for field in ("cpu_us", "rate")}
            print(f"| {key[0]} | {key[1]} | httpd {variant} | {middle['cpu_us']:.0f} "
                  f"| {middle['rate']:.0f} | {middle['p50_us']:.0f} | {middle['p99_us']:.0f} "
                  f"| {spread(ratios['cpu_us'])} | {spread(ratios['rate'])} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="2 rounds of 1 s instead of 7 of 3 s")
    options = parser.parse_args()
    rounds, seconds = (2, 1) if options.quick else (7, 3)
    with BenchLab() as lab, tempfile.TemporaryDirectory(prefix="strict-tls-bench-") as folder:
        fronts = {}
        try:
            for variant in VARIANTS:
                fronts[variant] = Front(folder, variant, lab.good)
            compare(fronts, rounds, seconds)
        finally:
            for front in fronts.values():
                front.httpd.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
