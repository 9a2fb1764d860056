"""The lab's clients: they present what the inbound table says, and stock nginx sees what it sees."""
import re
import socket
import ssl
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from tests.lab import inbound_fronts, net
from tests.lab.inbound import INBOUND_BY_ID, server_name
from tests.lab.tls_client import VERSIONS, Client, get_http2


def received(lab, trust, client):
    """DER of what a server gets from this client, in the order in which it came."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(lab.front_chain, lab.front.key_path)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(trust)
    chain = []
    with socket.create_server((net.HOST, 0)) as listener:
        def serve():
            plain, _ = listener.accept()
            with context.wrap_socket(plain, server_side=True) as peer:
                chain.extend(cert.public_bytes(1) for cert in peer._sslobj.get_unverified_chain())
                peer.sendall(b"x")

        thread = threading.Thread(target=serve)
        thread.start()
        with client.connect(listener.getsockname()[1], "front.inbound.lab.test") as connection:
            connection.tls.recv(1)
        thread.join(30)
    return [x509.load_pem_x509_certificate(pem.encode()).public_bytes(serialization.Encoding.DER)
            for pem in chain]


# Rows that a plain server takes as they are, so that it can tell what it got.
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("id", ["good", "good_direct", "misordered", "extra", "duplicate",
                                "root_presented", "all_missing_in_bundle", "self_signed_trusted"])
def test_presented_as_told(id, version, inbound_lab):
    scene = inbound_lab.client_scenes[id]
    wanted = [ssl.PEM_cert_to_DER_cert(pem) for pem in re.findall(
        r"-----BEGIN.*?END CERTIFICATE-----\n", scene.chain.read_text(), re.S)]
    assert len(wanted) == len(INBOUND_BY_ID[id].serve.split())
    got = received(inbound_lab, scene.trust, Client(scene.chain, scene.key, version=version))
    assert got == wanted


@pytest.fixture(scope="module")
def stock(inbound_lab):
    front = inbound_fronts.inbound_front(inbound_lab, inbound_lab.folder / "stock-inbound",
                                         strict=False)
    yield front[1]
    front[0].stop()


# nginx's default ssl_verify_depth of 1 is in force.
STOCK = {"good_direct": 200, "good_short": 200, "misordered": 400, "self_signed": 400,
         "server_purpose": 400, "expired": 400, "too_big": None}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("id", STOCK)
def test_stock_nginx(id, version, inbound_lab, stock):
    scene = inbound_lab.client_scenes[id]
    answer = Client(scene.chain, scene.key, version=version).get(stock, server_name(id))
    assert answer.status == STOCK[id], answer
    if answer.status == 200:
        assert answer.headers["x-host"] == server_name(id)
        assert answer.headers["x-client"].startswith(f"CN=client_{id},")
    if answer.status:
        [over_http2] = get_http2(stock, server_name(id), scene.chain, scene.key, version=version)
        assert (over_http2.status, over_http2.headers["x-client"]) == (
            answer.status, answer.headers["x-client"])


@pytest.mark.parametrize("version, tickets", [("tls12", True), ("tls12", False), ("tls13", True)])
def test_resumption(version, tickets, inbound_lab, stock):
    scene = inbound_lab.client_scenes["good_direct"]
    client = Client(scene.chain, scene.key, version=version, tickets=tickets)
    with client.connect(stock, server_name("good_direct")) as first:
        assert first.get().headers["x-session-reused"] == "."
        assert first.get().status == 200  # kept alive
        session = first.session
    with client.connect(stock, server_name("good_direct"), session) as second:
        assert second.reused
        assert second.get().headers["x-session-reused"] == "r"


def test_nobody(stock):
    assert Client().get(stock, server_name("good")).status == 400
