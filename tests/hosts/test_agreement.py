"""Every scenario gives the same verdict and reason in every host."""
from contextlib import ExitStack

import pytest

from tests.lab import fronts, httpd_fronts, net, stream_fronts
from tests.lab.scenarios import BY_ID

PATIENT = {"fetch_timeout_ms": "2000"}


@pytest.fixture(scope="module")
def hosts(lab):
    """Name of the host -> function from a scenario's id to (status, verdict, reason)."""
    with ExitStack() as stack:
        nginx, nginx_port = fronts.scenario_front(lab, lab.folder / "agree-nginx", strict=True,
                                                  policy=PATIENT)
        stack.callback(nginx.stop)
        httpd, (httpd_port,) = httpd_fronts.scenario_front(
            lab, lab.folder / "agree-httpd", strict=True, policy=PATIENT)
        stack.callback(httpd.stop)
        stream = stream_fronts.scenario_front(lab, lab.folder / "agree-stream", policy=PATIENT)
        stack.callback(stream.stop)

        def over_http(port):
            def ask(id):
                answer = net.get(port, f"/{id}")
                return (answer.status, answer.headers.get("x-strict-tls-verdict"),
                        answer.headers.get("x-strict-tls-reason"))
            return ask

        def over_stream(id):
            answer = stream.get(id)
            return answer.status or 502, answer.verdict, answer.reason

        yield {"nginx": over_http(nginx_port), "httpd": over_http(httpd_port),
               "nginx stream": over_stream}


@pytest.mark.parametrize("id", BY_ID)
def test_same_reason(id, hosts):
    said = {host: ask(id) for host, ask in hosts.items()}
    assert said["nginx"] == said["httpd"] == said["nginx stream"]
    assert said["nginx"][2] == (BY_ID[id].reason or "none")
