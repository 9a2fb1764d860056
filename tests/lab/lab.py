"""The whole lab: PKI, responders and backends for every scenario, on loopback."""
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from . import net
from .backends import Backend, Backends
from .openssl_responder import OpensslResponder
from .pki import Entity, Pki
from .responder import Responder
from .scenarios import NAME, SCENARIOS

# CAs whose issued certificates OpenSSL's own responder answers about.
REAL_ISSUERS = ("root", "intermediate", "issuing")


@dataclass(frozen=True)
class Scene:
    """What was built for a scenario."""

    leaf: Entity
    backend: Backend
    trust: Path  # PEM bundle for the hosts
    place: str  # of the leaf at the programmable responder
    client: Path = None  # the host's own chain and key, where the backend demands one
    client_key: Path = None


@dataclass(frozen=True)
class ClientScene:
    """What was built for a row of the inbound table."""

    leaf: Entity
    chain: Path  # what the client presents, in this order
    key: Path
    trust: Path  # PEM bundle for the server that demands it
    place: str  # of the leaf at the programmable responder


class Lab:
    """Made at once, started by `with`; everything it started and wrote is gone afterwards."""

    def __init__(self, scenarios=SCENARIOS, inbound=()):
        """inbound: rows of inbound.py."""
        self.scenarios = scenarios
        self.inbound = inbound
        self.responder = Responder()
        self.refusing = net.RefusingPort()
        self.folder = Path(tempfile.mkdtemp(prefix="strict-tls-lab-"))
        self.pki = Pki(self.folder / "pki")
        self.backends = Backends(self.folder / "backends")
        self.scenes = {}
        self.client_scenes = {}
        self.real = {}  # OpenSSL's responders by issuer
        self._bundles = {}
        try:
            self._build()
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        try:
            self.responder.start()
            for real in self.real.values():
                real.start()
            self.backends.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        self.backends.stop()
        for real in self.real.values():
            real.stop()
        self.responder.stop()
        self.refusing.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    # ---- making certificates ----------------------------------------------

    def issue(self, label, issuer="issuing", *, ocsp="real", revoked=False, **fields):
        """A certificate that its responders know; ocsp as in Scenario, or a URL of any kind."""
        signer = self.pki[issuer] if issuer else None
        urls = [self._ocsp_url(word, issuer, label) for word in ocsp.split() if word != "none"]
        if signer:
            fields.setdefault("ca_issuers", [self.responder.url(f"ca/{issuer}.der")])
        entity = self.pki.issue(label, signer, ocsp=urls, **fields)
        self.responder.know(entity)
        if issuer in self.real:
            self.real[issuer].know(entity, revoked)
        return entity

    def _ocsp_url(self, word, issuer, label):
        if word == "real" and issuer in self.real:
            return self.real[issuer].url
        if "://" in word or word.startswith("url:"):
            return word.removeprefix("url:")
        if word == "refused":
            return f"http://{net.HOST}:{self.refusing.port}/refused"
        # A place of the certificate's own, so that its requests can be told apart.
        self.responder.place(label, "good" if word == "real" else word)
        return self.responder.url(label)

    def _build(self):
        self._make_cas()
        for scenario in self.scenarios:
            self.scenes[scenario.id] = self._stage(scenario)
        for scenario in self.inbound:
            self.client_scenes[scenario.id] = self._stage_client(scenario)

    def _make_cas(self):
        pki = self.pki
        ten_years = {"ca": True, "days": 3650.0}
        for label in REAL_ISSUERS:
            issuer = {"root": None, "intermediate": "root", "issuing": "intermediate"}[label]
            if issuer is None:
                entity = pki.issue(label, key="rsa2048", cn="Lab Root", **ten_years)
                self.responder.know(entity)
            else:
                entity = self.issue(label, issuer, cn=f"Lab {label.title()} CA", **ten_years)
            self.real[label] = OpensslResponder(self.folder, entity)

        def ca(label, issuer, **fields):
            return self.issue(label, issuer, **{**ten_years, **fields})

        self.responder.know(pki.issue("stranger", cn="Stranger Root", **ten_years))
        ca("stranger_issuing", "stranger")
        young = pki.issue("young", cn="Young Root", **ten_years)
        self.responder.know(young)
        ca("young_cross", "root", like=young)
        ca("young_issuing", "young")
        ca("revoked_issuing", "intermediate", revoked=True)
        ca("silent_issuing", "intermediate", ocsp="silent")
        ca("narrow", "root", path_len=0)
        ca("too_deep", "narrow")
        ca("elsewhere", "root", permitted=("elsewhere.test",))
        ca("sloppy", "root", basic_critical=False)
        ca("outdated", "root", starts=-60.0, days=30.0)
        self.issue("not_a_ca", "issuing", drop=("ku",))
        pki.altered("altered_intermediate", pki["intermediate"])
        if any(scenario.issuer == "long98" for scenario in (*self.scenarios, *self.inbound)):
            for number in range(1, 99):
                ca(f"long{number}", f"long{number - 1}" if number > 1 else "root", ocsp="none",
                   ca_issuers=[])

        roles = self.responder.signers.roles
        for issuer in ("issuing", "intermediate"):
            roles["delegated", issuer] = self.issue(
                f"delegated_{issuer}", issuer, usages=("ocsp",), nocheck=True)
            roles["no_usage", issuer] = self.issue(f"no_usage_{issuer}", issuer, nocheck=True)
            roles["other_ca", issuer] = self.issue(
                f"other_ca_{issuer}", "stranger_issuing", usages=("ocsp",), nocheck=True)
        self.client = self.issue("client", usages=("client",), cn="client.lab.test")
        # Of the hosts themselves, where clients come to them.
        self.front = self.issue("front", sans=("*.inbound.lab.test",))
        self.front_chain = self.bundle("serve", ["front", "issuing", "intermediate"])

    # ---- staging a scenario -----------------------------------------------

    def _issue_leaf(self, label, scenario):
        """(the row's leaf, function that makes a bundle of the row's words)"""
        fields = {"sans": (scenario.name.rstrip("."),), **scenario.leaf}
        fields["sans"] = [x509.DNSName(san[4:]) if san.startswith("dns:") else san
                          for san in fields["sans"]]
        leaf = self.issue(label, scenario.issuer, ocsp=scenario.ocsp, revoked=scenario.revoked,
                          **fields)
        own = {"leaf": label, "altered_leaf": f"{label}_altered"}
        if "altered_leaf" in scenario.serve.split():
            self.pki.altered(own["altered_leaf"], leaf)

        def bundle(kind, words):
            return self.bundle(kind, [own.get(word, word) for word in words.split()])

        return leaf, bundle

    def _stage(self, scenario):
        label = f"leaf_{scenario.id}"
        leaf, bundle = self._issue_leaf(label, scenario)

        client = None
        if scenario.client and scenario.client != "nobody":
            client = bundle("client", scenario.client)
        return Scene(
            leaf=leaf,
            backend=self.add_backend(
                scenario.id, leaf, bundle("serve", scenario.serve),
                staple=scenario.staple, wants_client=bool(scenario.client)),
            trust=bundle("trust", scenario.trust),
            place=label,
            client=client,
            client_key=self.client.key_path if client else None)

    def _stage_client(self, scenario):
        label = f"client_{scenario.id}"
        leaf, bundle = self._issue_leaf(label, scenario)
        return ClientScene(leaf, bundle("serve", scenario.serve), leaf.key_path,
                           bundle("trust", scenario.trust), label)

    def visitor(self, name, issuer="issuing", serve="leaf issuing intermediate", *, ocsp="good",
                **leaf):
        """A client of a test's own with a fresh leaf; its place at the responder is its own."""
        label = f"client_{name}"
        entity = self.issue(label, issuer, ocsp=ocsp, usages=("client",), **leaf)
        labels = [label if word == "leaf" else word for word in serve.split()]
        return ClientScene(entity, self.bundle("serve", labels), entity.key_path,
                           self.pki["root"].cert_path, label)

    def bundle(self, kind, labels):
        """The PEM file with these certificates; equal ones are one file."""
        key = (kind, *labels)
        if key not in self._bundles:
            self._bundles[key] = self.pki.bundle(f"{kind}{len(self._bundles)}.bundle", labels)
        return self._bundles[key]

    def add_backend(self, name, leaf, chain, *, staple="", wants_client=False, **options):
        """A TLS server with this chain, before start()."""
        staple_file = None
        if staple:
            staple_file = self.pki.folder / f"{name}.staple"
            staple_file.write_bytes(self.responder.answer(leaf, staple))
        return self.backends.add(
            name, chain, leaf.key_path, staple=staple_file,
            client_ca=self.pki["root"].cert_path if wants_client else None, **options)

    def peer(self, name, issuer="issuing", serve="leaf issuing intermediate", *, staple="",
             ocsp="good", options=None, **leaf):
        """A backend of a test's own with a fresh leaf, before start(); returns a Scene."""
        label = f"leaf_{name}"
        entity = self.issue(label, issuer, ocsp=ocsp, **{"sans": (NAME,), **leaf})
        labels = [label if word == "leaf" else word for word in serve.split()]
        backend = self.add_backend(name, entity, self.bundle("serve", labels), staple=staple,
                                   **(options or {}))
        return Scene(entity, backend, self.pki["root"].cert_path, label)
