"""The scenario table once more, through a module built with AddressSanitizer and UBSan."""
import signal
import subprocess

import pytest

from tests.lab import fronts, net
from tests.lab.nginx import MODULE_ASAN
from tests.lab.scenarios import BY_ID

COMPLAINTS = ("AddressSanitizer", "runtime error:", "exited on signal", "LeakSanitizer")


@pytest.fixture(scope="module")
def sanitized(lab):
    """The runtime has to be there before the module is: nginx itself is not instrumented."""
    if not MODULE_ASAN.exists():
        pytest.fail(f"{MODULE_ASAN} is missing: run make nginx-asan", pytrace=False)
    runtime = subprocess.run(["cc", "-print-file-name=libasan.so"], capture_output=True,
                             text=True, check=True).stdout.strip()
    front, port = fronts.scenario_front(
        lab, lab.folder / "asan", strict=True, module=MODULE_ASAN,
        policy={"fetch_timeout_ms": "3000"}, ready_s=60,
        wrap=["env", f"LD_PRELOAD={runtime}",
              "ASAN_OPTIONS=detect_leaks=1:abort_on_error=1", "UBSAN_OPTIONS=print_stacktrace=1"])
    yield front, port
    front.stop()


@pytest.mark.parametrize("id", BY_ID)
def test_scenario(id, sanitized):
    front, port = sanitized
    answer = net.get(port, f"/{id}", timeout_s=60)
    assert answer.status == BY_ID[id].strict
    assert answer.headers["x-strict-tls-reason"] == (BY_ID[id].reason or "none")


def test_nothing_was_found(sanitized):
    """After all of the above, a reload, and an orderly end, which is where leaks are told."""
    front, port = sanitized
    front.reload()
    assert net.get(port, "/good", timeout_s=60).status == 200
    assert front.stop(signal.SIGQUIT, 30) == 0
    said = front.errors() + (front.folder / f"{front.name}.out").read_text(errors="replace")
    assert [line for line in said.splitlines() if any(word in line for word in COMPLAINTS)] == []
