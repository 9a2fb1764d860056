"""Every scenario gives the same verdict and reason in every host."""
from contextlib import ExitStack

import pytest

from tests.hosts.httpd.test_client import MOD_SSL_REFUSES
from tests.lab import fronts, httpd_fronts, httpd_inbound, inbound_fronts, net, stream_fronts
from tests.lab.inbound import INBOUND_BY_ID, server_name
from tests.lab.scenarios import BY_ID
from tests.lab.tls_client import Client

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


@pytest.fixture(scope="module")
def doors(inbound_lab):
    """The servers that clients come to, and their ports."""
    with ExitStack() as stack:
        made = {
            "nginx": inbound_fronts.inbound_front(
                inbound_lab, inbound_lab.folder / "agree-nginx", policy=PATIENT),
            "httpd": httpd_inbound.inbound_front(
                inbound_lab, inbound_lab.folder / "agree-httpd", policy=PATIENT, ready_s=60),
        }
        for front, _ in made.values():
            stack.callback(front.stop)
        yield made


@pytest.mark.parametrize("id", INBOUND_BY_ID)
def test_same_reason_for_clients(id, inbound_lab, doors):
    """By the log, since httpd refuses in the handshake; in TLS 1.2, without tickets, which
    OpenSSL cannot make of the largest certificates."""
    scene = inbound_lab.client_scenes[id]
    client = Client(scene.chain, scene.key, version="tls12", tickets=False)
    said, accepted = {}, {}
    for host, (front, port) in doors.items():
        front.mark()
        answer = client.get(port, server_name(id))
        said[host] = [(line.word, line.reason) for line in front.verdicts()]
        accepted[host] = answer.headers.get("x-strict-tls-verdict") == "accept"
    reason = INBOUND_BY_ID[id].reason
    assert said["nginx"] == said["httpd"] == ([("reject", reason)] if reason else [])
    assert accepted["nginx"] == (reason is None)
    assert accepted["httpd"] == (reason is None and id not in MOD_SSL_REFUSES)
