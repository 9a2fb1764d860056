"""Strict beside stock beside unverified nginx, on this machine, in alternating runs.

    ./build.sh bench            the table
    ./build.sh bench --quick    fewer and shorter runs

Figures are of the front's one worker: CPU from the scheduler's own accounting,
requests per second and latency from wrk. Ratios are taken run by run against
the stock run of the same round, so that a machine that drifts drifts for both.
"""
import argparse
import re
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.lab import net
from tests.lab.lab import Lab
from tests.lab.nginx import MODULE, Nginx
from tests.lab.scenarios import NAME

VARIANTS = ("stock", "strict", "off")
MODES = {
    "full handshakes": ("proxy_ssl_session_reuse off;", False),
    "resumption (default)": ("", False),
    "keepalive": ("proxy_http_version 1.1; proxy_set_header Connection '';", True),
}
# Aims for strict's CPU per request, as a ratio to stock's.
AIMS = {
    ("TLSv1.3", "full handshakes"): 0.92,
    ("TLSv1.3", "resumption (default)"): 0.80,
    ("TLSv1.3", "keepalive"): 1.02,
    ("TLSv1.2", "full handshakes"): 1.00,
    ("TLSv1.2", "resumption (default)"): 1.00,
    ("TLSv1.2", "keepalive"): 1.02,
}


class BenchLab(Lab):
    """One good peer, and one whose responder never answers."""

    def __init__(self):
        super().__init__(scenarios=())

    def _build(self):
        super()._build()
        self.good = self.peer("bench_good")
        self.hanging = self.peer("bench_hanging", ocsp="silent")


def verification(variant, trust):
    if variant == "stock":
        return ("proxy_ssl_verify on; proxy_ssl_verify_depth 5; proxy_ssl_server_name on; "
                f"proxy_ssl_trusted_certificate {trust};")
    if variant == "strict":
        return f"strict_tls on; strict_tls_trusted_certificate {trust};"
    return "proxy_ssl_verify off; proxy_ssl_server_name on;"


class Front:
    """One nginx with one worker for one variant."""

    def __init__(self, folder, variant, scene, hanging=None, **options):
        self.variant = variant
        self.ports = {}
        http, listening = [], []
        if variant == "strict":
            http.append("strict_tls_fetch_deny none;")
        for protocol in ("TLSv1.2", "TLSv1.3"):
            for mode, (lines, keepalive) in MODES.items():
                port = net.free_port()
                name = f"u{len(self.ports)}"
                pool = "keepalive 32;" if keepalive else ""
                http.append(f"""
    upstream {name} {{ server {scene.backend.address}; {pool} }}
    server {{
        listen {net.HOST}:{port};
        location / {{
            proxy_pass https://{name};
            proxy_ssl_name {NAME};
            proxy_ssl_protocols {protocol};
            {lines}
            {verification(variant, scene.trust)}
        }}
    }}""")
                self.ports[protocol, mode] = port
                listening.append(port)
        if hanging:
            port = net.free_port()
            http.append(f"""
    server {{
        listen {net.HOST}:{port};
        location / {{
            proxy_pass https://{hanging.backend.address};
            proxy_ssl_name {NAME};
            {verification(variant, hanging.trust)}
            strict_tls_fetch_timeout_ms 20000;
            strict_tls_fetch_total_ms 20000;
            strict_tls_negative_ttl_s 0;
        }}
    }}""")
            self.ports["hanging"] = port
            listening.append(port)
        self.nginx = Nginx(Path(folder) / variant, f"front-{variant}", level="error",
                           module=MODULE if variant == "strict" else None, **options)
        self.nginx.configure("\n".join(http))
        self.nginx.start(listening)

    def cpu_s(self):
        """Seconds that the worker has spent on a processor."""
        (pid,) = self.nginx.worker_pids()
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def wrk(port, seconds, connections=8):
    """(requests, requests per second, p50 us, p99 us)."""
    text = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency",
         f"http://{net.HOST}:{port}/"],
        capture_output=True, text=True, check=True).stdout
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    if bad or "Socket errors" in text:
        raise RuntimeError(f"not every request was answered:\n{text}")

    def latency(share):
        value, unit = re.search(rf"{share}%\s+([\d.]+)(us|ms|s)", text).groups()
        return float(value) * {"us": 1, "ms": 1e3, "s": 1e6}[unit]

    return (int(re.search(r"(\d+) requests in", text)[1]),
            float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1]), latency(50), latency(99))


def measure(front, port, seconds):
    before = front.cpu_s()
    requests, rate, p50, p99 = wrk(port, seconds)
    return {"cpu_us": (front.cpu_s() - before) / requests * 1e6, "rate": rate,
            "p50_us": p50, "p99_us": p99}


def spread(values):
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def compare(fronts, rounds, seconds):
    print("| protocol | connections | variant | CPU us/request | requests/s | p50 us | p99 us "
          "| CPU / stock | rate / stock |")
    print("|---|---|---|---|---|---|---|---|---|")
    missed = []
    for key in AIMS:
        runs = {variant: [] for variant in VARIANTS}
        for variant in VARIANTS:
            wrk(fronts[variant].ports[key], 1)  # warm
        for number in range(rounds):
            order = VARIANTS if number % 2 == 0 else VARIANTS[::-1]
            for variant in order:
                front = fronts[variant]
                runs[variant].append(measure(front, front.ports[key], seconds))
        for variant in VARIANTS:
            def median(field, rows=runs[variant]):
                return statistics.median(run[field] for run in rows)

            def ratios(field, rows=runs[variant]):
                return [mine[field] / stock[field] for mine, stock in zip(rows, runs["stock"])]

            print(f"| {key[0]} | {key[1]} | {variant} | {median('cpu_us'):.0f} "
                  f"| {median('rate'):.0f} | {median('p50_us'):.0f} | {median('p99_us'):.0f} "
                  f"| {spread(ratios('cpu_us'))} | {spread(ratios('rate'))} |", flush=True)
            if variant == "strict" and statistics.median(ratios("cpu_us")) > AIMS[key]:
                missed.append(f"{key[0]} {key[1]}: aim {AIMS[key]:.2f}, "
                              f"measured {statistics.median(ratios('cpu_us')):.2f}")
    return missed


def hanging_responder(front, rounds, seconds):
    """p99 of warm strict requests, alone and while 16 others wait for a responder that is silent."""
    port = front.ports["TLSv1.3", "keepalive"]
    ratios = []
    for _ in range(rounds):
        alone = wrk(port, seconds, connections=2)[3]
        with ThreadPoolExecutor(16) as pool:
            def wait_for_it():
                try:
                    net.get(front.ports["hanging"], timeout_s=seconds + 2)
                except OSError:
                    pass

            waiting = [pool.submit(wait_for_it) for _ in range(16)]
            disturbed = wrk(port, seconds, connections=2)[3]
            for one in waiting:
                one.result()
        ratios.append(disturbed / alone)
    print(f"\np99 of unrelated requests while a responder hangs / undisturbed: {spread(ratios)}")
    return ratios


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="2 rounds of 1 s instead of 7 of 3 s")
    options = parser.parse_args()
    rounds, seconds = (2, 1) if options.quick else (7, 3)

    with BenchLab() as lab, tempfile.TemporaryDirectory(prefix="strict-tls-bench-") as folder:
        fronts = {}
        try:
            for variant in VARIANTS:
                fronts[variant] = Front(folder, variant, lab.good,
                                        hanging=lab.hanging if variant == "strict" else None)
            missed = compare(fronts, rounds, seconds)
            hanging_responder(fronts["strict"], rounds, seconds)
        finally:
            for front in fronts.values():
                front.nginx.stop()
    for line in missed:
        print(f"aim missed: {line}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
