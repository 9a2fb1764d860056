"""Instructions per request, strict over stock, counted by callgrind.

    ./build.sh bench instructions              a line per protocol and kind of connection
    ./build.sh bench instructions --functions  and where strict spends them
    ./build.sh bench instructions --check      ends with 1 where a bound does not hold

A run with few and a run with many requests of one client connection: what the second executed
more is what its requests cost, start and end taken away.  Counts do not depend on how busy the
machine is, so that they can be compared between machines and versions.
"""
import argparse
import collections
import http.client
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.bench import httpd_bench, nginx_bench
from tests.bench.nginx_bench import BenchLab
from tests.lab import httpd_fronts, net
from tests.lab.httpd import MODULE, Httpd
from tests.lab.scenarios import NAME

FEW, MANY = 100, 900

# What strict may cost, in times of stock.
BOUNDS = {
    "httpd": {"keepalive": 1.01, "full handshakes": 0.861},
    "nginx": {"keepalive": 1.005, "full handshakes": 0.86, "resumed": 1.005},
}
# There stock itself varies by 1.5 %.
TLS12_BOUNDS = {("nginx", "resumed"): 1.015}
KINDS = ("full handshakes", "resumed", "keepalive")
NGINX_KINDS = {"full handshakes": "full handshakes", "resumed": "resumption (default)",
               "keepalive": "keepalive"}

COLUMNS = "| host | protocol | connections | stock | strict | strict / stock | bound |"


def callgrind(folder):
    """Command words; every process leaves a file of its own."""
    return ["valgrind", "--tool=callgrind", "--trace-children=yes", "--quiet",
            f"--callgrind-out-file={folder}/%p.out"]


def ask(port, num):
    """So many requests on one connection."""
    connection = http.client.HTTPConnection(net.HOST, port, timeout=120)
    try:
        for _ in range(num):
            connection.request("GET", "/")
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                raise RuntimeError(f"port {port} answered {answer.status}")
    finally:
        connection.close()


def totals(folder):
    return sum(int(re.search(r"^(?:totals|summary): (\d+)", path.read_text(), re.M)[1])
               for path in folder.glob("*.out"))


def functions(folder):
    """{name: instructions of its own}"""
    counts = collections.Counter()
    for path in folder.glob("*.out"):
        listing = subprocess.run(["callgrind_annotate", "--auto=no", "--threshold=100", path],
                                 capture_output=True, text=True, check=True).stdout
        for number, name in re.findall(r"^ *([\d,]+) \([ \d.]+%\)  (\S+?)(?: \[|$)", listing, re.M):
            counts[re.sub(r"^.*?:", "", name)] += int(number.replace(",", ""))
    return counts


def run(start, num):
    """(total, by function) of a server that answered so many requests.

    start(folder, wrap): (port, function that ends the server), started behind these command words.
    """
    with tempfile.TemporaryDirectory(prefix="strict-tls-instructions-") as name:
        folder = Path(name)
        counted = folder / "counted"
        for made in (folder, counted):
            made.mkdir(exist_ok=True)
            made.chmod(0o777)  # children that are not root any more write there
        port, stop = start(folder, callgrind(counted))
        try:
            ask(port, num)
        finally:
            stop()
        return totals(counted), functions(counted)


def per_request(start):
    """(instructions per request, the same by function)"""
    few, few_by = run(start, FEW)
    many, many_by = run(start, MANY)
    by = {name: (count - few_by[name]) / (MANY - FEW) for name, count in many_by.items()}
    return (many - few) / (MANY - FEW), by


# ---- hosts ----------------------------------------------------------------------------


def httpd_start(scene, variant, protocol, parameters):
    """prefork: one process serves, and nothing else runs in it."""

    def start(folder, wrap):
        port = net.free_port()
        front = Httpd(folder / "httpd", "httpd", hosts=[NAME], level="crit", mpm="prefork",
                      threads=1, module=MODULE if variant == "strict" else None, wrap=wrap,
                      ready_s=120)
        front.configure(httpd_fronts.vhost(
            port, [f"ProxyPass / {httpd_fronts.url_of(scene, NAME)}/ {parameters}\n"],
            protocols=protocol, extra=httpd_bench.verification(variant, scene.trust)),
            main="KeepAlive on\nMaxKeepAliveRequests 0\nKeepAliveTimeout 60\n")
        front.start([port])
        return port, lambda: front.stop(grace_s=60)

    return start


def nginx_start(scene, variant, protocol, mode):
    def start(folder, wrap):
        front = nginx_bench.Front(folder / "nginx", variant, scene, wrap=wrap, ready_s=120)
        return front.ports[protocol, mode], lambda: front.nginx.stop(grace_s=60)

    return start


# host -> kind of connection -> function(scene, variant, protocol) that gives run() its `start`
HOSTS = {
    "nginx": {kind: lambda scene, variant, protocol, mode=mode:
              nginx_start(scene, variant, protocol, mode)
              for kind, mode in NGINX_KINDS.items()},
    "httpd": {kind: lambda scene, variant, protocol, parameters=parameters:
              httpd_start(scene, variant, protocol, parameters)
              for kind, parameters in httpd_bench.MODES.items()},
}


def show_functions(strict, stock):
    more = {name: count - stock.get(name, 0) for name, count in strict.items()}
    for name, count in sorted(more.items(), key=lambda item: -abs(item[1]))[:40]:
        print(f"    {count:+10.1f}  {name}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", choices=HOSTS, action="append")
    parser.add_argument("--kind", choices=KINDS, action="append")
    parser.add_argument("--protocol", default="TLSv1.3", choices=("TLSv1.2", "TLSv1.3"))
    parser.add_argument("--functions", action="store_true", help="show what strict adds where")
    parser.add_argument("--check", action="store_true", help="fail where a bound does not hold")
    options = parser.parse_args()
    failed = False
    with BenchLab() as lab:
        print(f"{COLUMNS}\n|---|---|---|---|---|---|---|")
        for host in options.host or HOSTS:
            for kind in HOSTS[host]:
                if options.kind and kind not in options.kind:
                    continue
                make = HOSTS[host][kind]
                stock, stock_by = per_request(make(lab.good, "stock", options.protocol))
                strict, strict_by = per_request(make(lab.good, "strict", options.protocol))
                bound = BOUNDS[host][kind]
                if options.protocol == "TLSv1.2":
                    bound = TLS12_BOUNDS.get((host, kind), bound)
                failed |= strict / stock > bound
                print(f"| {host} | {options.protocol} | {kind} | {stock:.0f} | {strict:.0f} "
                      f"| {strict / stock:.3f} | {bound} |", flush=True)
                if options.functions:
                    show_functions(strict_by, stock_by)
    return 1 if failed and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
