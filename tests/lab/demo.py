"""The demo: the same requests through stock nginx and through strict nginx, side by side.

Exit status 0 when every row came out as it must.
"""
import argparse
import os
import shutil
import signal
import sys
import threading
from contextlib import ExitStack

from . import fronts, net, table
from .lab import Lab
from .nginx import MODULE
from .scenarios import SCENARIOS

HEADER = ["scenario", "stock nginx", "strict nginx", "reason", "remedy"]
ROWS = [scenario for scenario in SCENARIOS if scenario.demo]


class Stopped(Exception):
    """SIGINT or SIGTERM: leave by way of the clean-up."""


def verb(status):
    if status == 200:
        return "200 accepts"
    return f"{status} refuses" if status == 502 else f"{status} backend"


def ask(front, port, scenario):
    """(status, reason, remedy) from a front end."""
    front.mark()
    answer = net.get(port, f"/{scenario.id}")
    reason = answer.headers.get("x-strict-tls-reason", "")
    remedy = ""
    for verdict in front.verdicts():
        remedy = verdict.fields.get("remedy", "")
    return answer.status, "" if reason == "none" else reason, remedy


def judge(scenario, stock, strict, reason):
    """What did not come out as it must; empty if all did."""
    wrong = []
    for host, got, wanted in (("stock", stock, scenario.stock),
                              ("strict", strict, scenario.strict),
                              ("reason", reason, scenario.reason or "")):
        if got != wanted:
            wrong.append(f"{host} must be {wanted or 'none'}")
    return ", ".join(wrong)


def run_rows(stock, strict):
    """(table rows, how many came out wrong)."""
    rows, failures = [], 0
    for scenario in ROWS:
        stock_status, _, _ = ask(*stock, scenario)
        strict_status, reason, remedy = ask(*strict, scenario)
        wrong = judge(scenario, stock_status, strict_status, reason)
        if wrong:
            failures += 1
            remedy = f"NOT AS IT MUST BE: {wrong}"
        rows.append((
            [scenario.title, verb(stock_status), verb(strict_status), reason, remedy],
            ["", "", "good" if strict_status == 200 else "bad", "", "alarm" if wrong else ""],
        ))
    return rows, failures


def report(rows, failures):
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    width = shutil.get_terminal_size((120, 24)).columns  # COLUMNS, if set, has the last word
    print("\n".join(table.render(HEADER, rows, width, colour)))
    print()
    if failures:
        print(f"{failures} of {len(rows)} rows did not come out as they must.")
    else:
        print(f"All {len(rows)} rows came out as they must.")
    sys.stdout.flush()


def keep_running(stock, strict, lab, stop):
    print(f"\nRunning until Ctrl-C.  Try:\n"
          f"\n  curl -i http://{net.HOST}:{stock[1]}/leaf_only     # stock"
          f"\n  curl -i http://{net.HOST}:{strict[1]}/leaf_only     # strict, reasons in the headers"
          f"\n  tail -f {strict[0].error_log}\n"
          f"\nThe other paths, with the backends behind them:\n")
    width = max(len(scenario.id) for scenario in ROWS) + 1
    for scenario in ROWS:
        backend = lab.scenes[scenario.id].backend.address
        print(f"  /{scenario.id:{width}} https://{backend}  {scenario.title}")
    print(f"\n  configurations  {stock[0].conf}\n                  {strict[0].conf}"
          f"\n  OCSP responder  http://{net.HOST}:{lab.responder.port}/"
          f"\n  certificates    {lab.pki.folder}", flush=True)
    stop.wait()


def main():
    parser = argparse.ArgumentParser(prog="./build.sh demo", description=__doc__.split("\n")[0])
    parser.add_argument("--keep", action="store_true", help="leave it running until Ctrl-C")
    options = parser.parse_args()

    stop = threading.Event()

    def stopped(signum, frame):
        stop.set()
        # Once is enough: a second signal must not interrupt the clean-up.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        raise Stopped(signum)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stopped)

    if not MODULE.exists():
        sys.exit(f"{MODULE} is missing: run ./build.sh build")
    failures = None
    try:
        with ExitStack() as stack:
            lab = stack.enter_context(Lab(ROWS))
            running = []
            for strict in (False, True):
                front, port = fronts.scenario_front(
                    lab, lab.folder / ("strict" if strict else "stock"), strict=strict)
                stack.callback(front.stop)
                running.append((front, port))
            rows, failures = run_rows(*running)
            report(rows, failures)
            if options.keep:
                keep_running(*running, lab, stop)
    except Stopped:
        if not options.keep or failures is None:
            print("stopped", file=sys.stderr)
            return 130
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
