"""Every scenario gives the same verdict and reason in every host."""
import pytest

from tests.lab import fronts, httpd_fronts, net
from tests.lab.scenarios import BY_ID

PATIENT = {"fetch_timeout_ms": "2000"}


@pytest.fixture(scope="module")
def hosts(lab):
    """Name of the host -> port."""
    nginx, nginx_port = fronts.scenario_front(lab, lab.folder / "agree-nginx", strict=True,
                                              policy=PATIENT)
    try:
        httpd, (httpd_port,) = httpd_fronts.scenario_front(
            lab, lab.folder / "agree-httpd", strict=True, policy=PATIENT)
        try:
            yield {"nginx": nginx_port, "httpd": httpd_port}
        finally:
            httpd.stop()
    finally:
        nginx.stop()


@pytest.mark.parametrize("id", BY_ID)
def test_same_reason(id, hosts):
    said = {}
    for host, port in hosts.items():
        answer = net.get(port, f"/{id}")
        said[host] = (answer.status, answer.headers.get("x-strict-tls-verdict"),
                      answer.headers.get("x-strict-tls-reason"))
    assert said["nginx"] == said["httpd"]
    assert said["httpd"][2] == (BY_ID[id].reason or "none")
