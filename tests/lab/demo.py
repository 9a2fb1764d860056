"""The demo: the same requests through stock and strict nginx, httpd and curl, side by side.

Exit status 0 when every row came out as it must.
"""
import argparse
import os
import shutil
import signal
import sys
import textwrap
import threading
from contextlib import ExitStack

from . import curls, fronts, httpd, httpd_fronts, mutual, net, repair, table
from .lab import Lab
from .nginx import MODULE
from .scenarios import SCENARIOS

HEADER = ["scenario", "stock\nnginx", "stock\nhttpd", "\ncurl", "strict\nnginx",
          "strict\nhttpd", "strict-\ncurl", "reason", "remedy"]
NUM_PROSE = 2  # reason and remedy
LEGEND = ("200: answered. 502, 500: refused, told by a gateway. 60: refused, curl's exit status. "
          "Others are answers of the backend.")
ROWS = [scenario for scenario in SCENARIOS if scenario.demo]


class Stopped(Exception):
    """SIGINT or SIGTERM: leave by way of the clean-up."""


def ask(front, port, scenario):
    """(status, reason, remedy) from a front end."""
    front.mark()
    answer = net.get(port, f"/{scenario.id}")
    reason = answer.headers.get("x-strict-tls-reason", "")
    remedy = ""
    for verdict in front.verdicts():
        remedy = verdict.fields.get("remedy", "")
    return answer.status, "" if reason == "none" else reason, remedy


def judge(scenario, stock, stock_httpd, strict, strict_httpd, strict_curl):
    """What did not come out as it must; empty if all did."""
    wrong = []
    if strict != strict_httpd or strict[1] != strict_curl[1]:
        wrong.append("the hosts disagree: " + ", ".join(
            f"{host} {status} {reason or 'none'}"
            for host, (status, reason) in (("nginx", strict), ("httpd", strict_httpd),
                                           ("curl", strict_curl))))
    for host, got, wanted in (
            ("stock nginx", stock, scenario.stock),
            ("stock httpd", stock_httpd, httpd_fronts.stock_status(scenario)),
            ("strict nginx", strict[0], scenario.strict),
            ("strict httpd", strict_httpd[0], scenario.strict),
            ("strict-curl", strict_curl[0], curls.wanted(scenario)),
            ("reason", strict[1], scenario.reason or "")):
        if got != wanted:
            wrong.append(f"{host} must be {wanted or 'none'}")
    return ", ".join(wrong)


def run_rows(stock, strict, stock_httpd, strict_httpd, curl):
    """(table rows, how many came out wrong)."""
    rows, failures = [], 0
    for scenario in ROWS:
        stock_status, _, _ = ask(*stock, scenario)
        stock_httpd_status, _, _ = ask(*stock_httpd, scenario)
        strict_status, reason, remedy = ask(*strict, scenario)
        httpd_status, httpd_reason, _ = ask(*strict_httpd, scenario)
        strict_curl = curl.strict(scenario)
        wrong = judge(scenario, stock_status, stock_httpd_status, (strict_status, reason),
                      (httpd_status, httpd_reason), strict_curl)
        statuses = [stock_status, stock_httpd_status, curl.plain(scenario), strict_status,
                    httpd_status, strict_curl[0]]
        if wrong:
            failures += 1
            remedy = f"NOT AS IT MUST BE: {wrong}"
        rows.append((
            [scenario.title, *map(str, statuses), reason, remedy],
            ["", *("good" if status == 200 else "bad" for status in statuses), "",
             "alarm" if wrong else ""],
        ))
    return rows, failures


def report(rows, failures):
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    width = shutil.get_terminal_size((120, 24)).columns  # COLUMNS, if set, has the last word
    print("\n".join(table.render(HEADER, rows, width, colour, tail=NUM_PROSE)))
    print()
    print("\n".join(textwrap.wrap(LEGEND, width)))
    if failures:
        print(f"{failures} of {len(rows)} rows did not come out as they must.")
    else:
        print(f"All {len(rows)} rows came out as they must; nginx, httpd and curl agree in "
              "each of them.")
    sys.stdout.flush()


def tell_repair(lab):
    """1 if the seed case was not repaired."""
    story = repair.Story(lab)
    wrong = story.tell()
    print("\n".join(["", *repair.lines_of(story, wrong)]), flush=True)
    return 1 if wrong else 0


def tell_mutual(story):
    """1 if not every strict peer was served in the end."""
    wrong = story.tell()
    print("\n".join(["", *story.lines(wrong)]), flush=True)
    return 1 if wrong else 0


def keep_running(stock, strict, httpds, lab, stop):
    print(f"\nRunning until Ctrl-C.  Try:\n"
          f"\n  curl -i http://{net.HOST}:{stock[1]}/leaf_only     # stock"
          f"\n  curl -i http://{net.HOST}:{strict[1]}/leaf_only     # strict, reasons in the headers"
          f"\n  curl -i http://{net.HOST}:{httpds[1][1]}/leaf_only     # strict httpd"
          f"\n  tail -f {strict[0].error_log} {httpds[1][0].error_log}\n"
          f"\nThe other paths, with the backends behind them:\n")
    width = max(len(scenario.id) for scenario in ROWS) + 1
    for scenario in ROWS:
        backend = lab.scenes[scenario.id].backend.address
        print(f"  /{scenario.id:{width}} https://{backend}  {scenario.title}")
    print(f"\n  configurations  {stock[0].conf}\n                  {strict[0].conf}"
          f"\n                  {httpds[0][0].conf}\n                  {httpds[1][0].conf}"
          f"\n  OCSP responder  http://{net.HOST}:{lab.responder.port}/"
          f"\n  certificates    {lab.pki.folder}", flush=True)
    stop.wait()


def main():
    parser = argparse.ArgumentParser(prog="./build.sh demo", description=__doc__.split("\n")[0])
    parser.add_argument("--keep", action="store_true", help="leave it running until Ctrl-C")
    options = parser.parse_args()

    stop = threading.Event()

    def stopped(signum, frame):
        # Once is enough: a second signal must not interrupt the clean-up.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        raise Stopped(signum)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stopped)

    for module in (MODULE, httpd.MODULE, curls.STRICT_CURL):
        if not module.exists():
            sys.exit(f"{module} is missing: run ./build.sh build")
    failures = None
    try:
        with ExitStack() as stack:
            lab = Lab(ROWS)
            stack.callback(lab.close)
            own_side = mutual.Story(lab)
            stack.enter_context(lab)
            running, httpds = [], []
            for strict in (False, True):
                front, port = fronts.scenario_front(
                    lab, lab.folder / ("strict" if strict else "stock"), strict=strict)
                stack.callback(front.stop)
                running.append((front, port))
                front, (port,) = httpd_fronts.scenario_front(
                    lab, lab.folder / ("strict-httpd" if strict else "stock-httpd"), strict=strict)
                stack.callback(front.stop)
                httpds.append((front, port))
            rows, failures = run_rows(*running, *httpds, curls.Curls(lab))
            report(rows, failures)
            failures += tell_repair(lab) + tell_mutual(own_side)
            if options.keep:
                keep_running(*running, httpds, lab, stop)
    except Stopped:
        if not options.keep or failures is None:
            print("stopped", file=sys.stderr)
            return 130
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
