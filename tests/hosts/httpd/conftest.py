"""httpd front ends for tests."""
import itertools
from contextlib import ExitStack

import pytest

from tests.lab import httpd_fronts, httpd_inbound, net
from tests.lab.httpd import MODULE, WRAPPER, Httpd
from tests.lab.lab import Lab
from tests.lab.scenarios import NAME
from tests.lab.tls_client import Client


@pytest.fixture(scope="session", autouse=True)
def module():
    for needed in (MODULE, WRAPPER):
        if not needed.exists():
            pytest.fail(f"{needed} is missing: run ./build.sh build", pytrace=False)
    return MODULE


@pytest.fixture
def stage(tmp_path):
    """Makes labs and httpds of a test's own; all of them end with the test.

    Use: stage.peer() for backends, stage.open(), then stage.front(lines) for an
    httpd with one virtual host in front of them.
    """
    # httpd's children drop root: what they reach must be open to them.
    tmp_path.chmod(0o755)
    with ExitStack() as stack:
        yield Stage(tmp_path, stack)


class Stage:
    def __init__(self, folder, stack):
        self._folder = folder
        self.stack = stack
        self._numbers = itertools.count()
        self.lab = Lab(scenarios=())
        stack.callback(self.lab.close)

    @property
    def responder(self):
        return self.lab.responder

    def peer(self, name, *args, **fields):
        """A backend with a fresh leaf; its place at the responder is peer.place."""
        return self.lab.peer(name, *args, **fields)

    def open(self):
        self.stack.enter_context(self.lab)

    def front(self, body, *, extra="", main="", protocols="TLSv1.2 TLSv1.3", start=True,
              hosts=(NAME,), **options):
        """(httpd, port); front.rewrite(body) before a graceful restart."""
        front = Httpd(self._folder / f"front{next(self._numbers)}", "front", hosts=hosts,
                      **{"module": MODULE, **options})
        port = net.free_port()
        self.stack.callback(front.stop)

        def rewrite(body):
            front.configure(httpd_fronts.STRICT_HEADERS
                            + httpd_fronts.vhost(port, body, protocols=protocols, extra=extra),
                            main=main)

        rewrite(body)
        front.rewrite = rewrite
        if start:
            front.start([port])
            front.mark()
        return front, port


class Door:
    """An httpd that clients come to, with virtual hosts on one port."""

    def __init__(self, lab):
        self.lab = lab
        self.port = net.free_port()
        self.front = None

    def vhost(self, name, trust=None, **options):
        """Trusts the lab's root unless told; see httpd_inbound.vhost()."""
        trust = self.lab.pki["root"].cert_path if trust is None else trust
        return httpd_inbound.vhost(self.lab, self.port, f"{name}.inbound.lab.test", trust,
                                   **options)

    def start(self, stack, folder, *vhosts, main="", **options):
        """The lab runs already.  The httpd ends with `stack`; .rewrite() before a restart."""
        self.front = front = httpd_inbound.make(folder, **options)
        stack.callback(front.stop)

        def rewrite(*vhosts):
            httpd_inbound.configure(front, self.port, vhosts, main=main)

        rewrite(*vhosts)
        front.rewrite = rewrite
        front.start([self.port])
        front.mark()
        return front

    def get(self, visitor, name, path="/", *, version=None, **options):
        return self.client(visitor, version=version).get(
            self.port, f"{name}.inbound.lab.test", path, **options)

    def client(self, visitor, **options):
        return Client(visitor and visitor.chain, visitor and visitor.key, **options)


@pytest.fixture
def door(stage, tmp_path):
    """One of a test's own: door.open(door.vhost(...), ...)."""
    with ExitStack() as stack:
        made = Door(stage.lab)

        def start(*vhosts, **options):
            stage.open()
            return made.start(stack, tmp_path / "door", *vhosts, **options)

        made.open = start
        yield made


def where(peer, path="/", name=NAME, **options):
    """A location in front of a peer."""
    return httpd_fronts.location(path, peer, name=name, **{"strict": True, **options})
