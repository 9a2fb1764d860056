"""One table, one answer: nginx, httpd and curl give every scenario the same reason."""
from contextlib import ExitStack

import pytest

from tests.lab import fronts, httpd_fronts, net
from tests.lab.curls import Curls
from tests.lab.scenarios import BY_ID

# A loaded machine must not turn a good responder into a silent one.
PATIENT = {"fetch_timeout_ms": "2000"}


@pytest.fixture(scope="module")
def hosts(lab):
    with ExitStack() as stack:
        nginx, nginx_port = fronts.scenario_front(lab, lab.folder / "agree-nginx", strict=True,
                                                  policy=PATIENT)
        stack.callback(nginx.stop)
        httpd, (httpd_port,) = httpd_fronts.scenario_front(lab, lab.folder / "agree-httpd",
                                                           strict=True, policy=PATIENT)
        stack.callback(httpd.stop)
        yield nginx_port, httpd_port, Curls(lab)


@pytest.mark.parametrize("id", BY_ID)
def test_same_reason(id, hosts):
    nginx_port, httpd_port, curl = hosts
    reasons = {name: net.get(port, f"/{id}").headers["x-strict-tls-reason"]
               for name, port in (("nginx", nginx_port), ("httpd", httpd_port))}
    reasons["curl"] = curl.strict(BY_ID[id])[1] or "none"
    assert set(reasons.values()) == {BY_ID[id].reason or "none"}, reasons
