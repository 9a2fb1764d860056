"""Makes the vectors: certificates, CRLs and OCSP answers from certs.tsv and vectors.tsv.

    python3 -m tests.vectors.generate FOLDER

Everything lies below FOLDER then, with cases.txt to say what belongs together: that file is what
the core's runner and the Java oracle read.  The tables explain themselves at their top.
"""
import shutil
import sys
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from cryptography import x509

from tests.lab import crl, der, ocsp_answer
from tests.lab.ocsp_answer import Answer, Question
from tests.lab.pki import USAGES, Pki

HERE = Path(__file__).parent
MOMENT = datetime(2026, 9, 21, 12)  # when every vector is judged, unless it says otherwise
NOW_S = int(MOMENT.replace(tzinfo=timezone.utc).timestamp())
DEFAULT_NAME = "api.example.com"
FAILURES = {"timeout", "network", "http", "too_large", "denied", "local"}


class TableError(Exception):
    """A row that says something the generator does not understand."""


def read_table(path, num_columns):
    """Its rows as lists; '#' begins a comment line."""
    rows = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        fields = line.split("\t")
        if len(fields) != num_columns:
            raise TableError(f"{path.name}:{number}: {len(fields)} columns, not {num_columns}")
        rows.append(["" if field == "-" else field for field in fields])
    return rows


def words(text):
    """'a=1 b' as pairs (a, 1), (b, '')."""
    return [(word.partition("=")[0], word.partition("=")[2]) for word in text.split()]


@dataclass(frozen=True)
class Case:
    """A row of vectors.tsv."""

    rule: str
    name: str
    peer: tuple
    wanted: str
    policy: str
    answers: str
    given: str
    expect: str

    @property
    def family(self):
        return self.rule.partition(".")[0]

    @property
    def accepts(self):
        return self.expect == "accept" or self.expect.startswith("warns:")

    @property
    def reason(self):
        """The id that it ends with, or accept."""
        return self.expect.rpartition(":")[2]


def cases():
    found = []
    for rule, name, peer, wanted, policy, answers, given, expect in read_table(
            HERE / "vectors.tsv", 8):
        found.append(Case(rule, name, tuple(peer.split()), wanted or DEFAULT_NAME, policy, answers,
                          given, expect))
    return found


# ---- certificates ------------------------------------------------------------------

OIDS = {"anyPolicy": "2.5.29.32.0"}
REASON_BITS = {flag.name: bit for bit, flag in enumerate(
    [x509.ReasonFlags.unspecified, x509.ReasonFlags.key_compromise, x509.ReasonFlags.ca_compromise,
     x509.ReasonFlags.affiliation_changed, x509.ReasonFlags.superseded,
     x509.ReasonFlags.cessation_of_operation, x509.ReasonFlags.certificate_hold,
     x509.ReasonFlags.privilege_withdrawn, x509.ReasonFlags.aa_compromise])}


def _oid(text):
    return x509.ObjectIdentifier(OIDS.get(text, text))


def _raw(oid, value):
    return x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value)


class Certificates:
    """Those of certs.tsv, and who names which CRL."""

    def __init__(self, folder):
        self.pki = Pki(folder, MOMENT)
        self.folder = folder
        self.crl_issuers = {}  # by the CRL's name
        self.crl_names = {}  # by the label of who names them
        for number, (label, issuer, text) in enumerate(read_table(HERE / "certs.tsv", 3), 1):
            try:
                self._make(label, issuer, text, number)
            except (ValueError, KeyError, TypeError) as error:
                raise TableError(f"certs.tsv: {label}: {error!r}") from error
            (folder / f"{label}.der").write_bytes(self.pki[label].der)

    def __getitem__(self, label):
        return self.pki[label]

    def _make(self, label, issuer_label, text, number):
        issuer = self.pki[issuer_label] if issuer_label else None
        settings = dict(words(text))
        if "altered" in settings:
            self.pki.altered(label, self.pki[settings["altered"]])
            return
        fields = {"extra": [], "serial": 1000 + number}
        for key, value in settings.items():
            self._read(fields, label, issuer, key, value, settings)
        self.pki.issue(label, issuer, **fields)

    def _read(self, fields, label, issuer, key, value, settings):
        extra = fields["extra"]
        if key in ("ca", "must_staple", "nocheck"):
            fields[key] = True
        elif key == "cn":
            fields[key] = value.replace("_", " ")
        elif key in ("key", "digest"):
            fields[key] = value
        elif key in ("days", "starts"):
            fields[key] = float(value)
        elif key in ("path_len", "serial"):
            fields[key] = int(value)
        elif key in ("sans", "usages", "drop", "permitted"):
            fields[key] = value.split("|") if value else []
        elif key == "like":
            fields[key] = self.pki[value]
        elif key == "many_sans":
            fields["sans"] = [f"n{i}.example.com" for i in range(int(value))]
        elif key == "not_critical":
            fields["basic_critical"] = False
        elif key == "ocsp":
            fields["ocsp"] = value.split("|") if value else [f"http://ocsp.test/{label}"]
        elif key == "aia":
            fields["ca_issuers"] = [value]
        elif key == "crl":
            self.crl_names.setdefault(label, []).extend(value.split("|"))
            extra.append((self._points(value, settings, issuer), False))
        elif key == "freshest":
            self.crl_issuers.setdefault(value, issuer)
            self.crl_names.setdefault(label, []).append(value)
            extra.append((x509.FreshestCRL([_point(value)]), False))
        elif key == "sans_der":
            extra.append((_raw("2.5.29.17", bytes.fromhex(value)), False))
        elif key == "excluded":
            extra.append((x509.NameConstraints(None, [x509.DNSName(value)]), True))
        elif key == "permitted_ip":
            import ipaddress
            extra.append((x509.NameConstraints(
                [x509.IPAddress(ipaddress.ip_network(value))], None), True))
        elif key == "policies":
            extra.append((x509.CertificatePolicies(
                [x509.PolicyInformation(_oid(oid), None) for oid in value.split("|")]), False))
        elif key in ("qualifier", "soft_qualifier"):
            extra.append((_raw("2.5.29.32", der.sequence(der.sequence(
                der.oid("1.2.3.4"), der.sequence(der.sequence(
                    der.oid(value), der.tlv(0x16, b"http://cps.test/")))))), key == "qualifier"))
        elif key == "eku":  # of a CA
            extra.append((x509.ExtendedKeyUsage([USAGES[value]]), False))
        elif key == "mapping":
            ours, theirs = value.split(":")
            extra.append((_raw("2.5.29.33", der.sequence(der.sequence(
                der.oid(ours), der.oid(theirs)))), True))
        elif key == "require_policy":
            extra.append((x509.PolicyConstraints(int(value), None), True))
        elif key == "inhibit_mapping":
            extra.append((x509.PolicyConstraints(None, int(value)), True))
        elif key == "inhibit_any":
            extra.append((x509.InhibitAnyPolicy(int(value)), True))
        elif key == "usage":
            fields["drop"] = [*fields.get("drop", []), "ku"]
            extra.append((_usage(value.split("|")), True))
        elif key == "wrong_aki":
            fields["drop"] = [*fields.get("drop", []), "aki"]
            extra.append((x509.AuthorityKeyIdentifier(bytes(20), None, None), False))
        elif key == "unknown":
            extra.append((_raw("1.2.3.4", der.null()), value == "critical"))
        elif key == "undecodable":
            extra.append((_raw({"san": "2.5.29.17", "names": "2.5.29.30"}[value], b"\x05\x00"),
                          value == "names"))
        elif key not in ("crl_issuer", "crl_reasons", "point_reasons"):
            raise TableError(f"certs.tsv: {label}: unknown word {key}")

    def _points(self, value, settings, issuer):
        by = self.pki[settings["crl_issuer"]] if "crl_issuer" in settings else None
        reasons = settings.get("crl_reasons")
        points = []
        for name in value.split("|"):
            self.crl_issuers.setdefault(name, by or issuer)
            points.append(_point(name, by, reasons and frozenset(
                x509.ReasonFlags[one] for one in reasons.split("|"))))
        return x509.CRLDistributionPoints(points)


def crl_url(name):
    return name if ":" in name else f"http://crl.test/{name}"


def _point(name, by=None, reasons=None):
    return x509.DistributionPoint([x509.UniformResourceIdentifier(crl_url(name))], None, reasons,
                                  by and [x509.DirectoryName(by.cert.subject)])


def _usage(names):
    every = ["digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
             "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"]
    return x509.KeyUsage(**{name: name in names for name in every})


# ---- answers ------------------------------------------------------------------------

class LabelledSigners:
    """Any certificate of the table may have signed; its certificate is then sent along."""

    def __init__(self, certs):
        self.certs = certs

    def pick(self, role, entity):
        if role == "issuer":
            return entity.signer, False
        return (entity if role == "self" else self.certs[role]), True


def _seconds(text):
    return None if text == "none" else int(text)


def ocsp_bytes(certs, label, text):
    """The OCSP answer about a certificate: 'revoked,reason=6,signer=responder'."""
    fields = {}
    for key, value in words(text.replace(",", " ")):
        if key in ("good", "revoked", "unknown"):
            fields["status"] = key
        elif key in ("garbage", "truncate", "inside", "trailing", "signature"):
            fields["damage"] = key
        elif key in ("this", "next"):
            fields[f"{key}_update_s"] = _seconds(value)
        elif key in ("reason", "error"):
            fields[key] = int(value)
        elif key == "by_name":
            fields["by_key"] = False
        elif key in ("about", "signer", "digest", "nonce"):
            fields[key] = value
        elif key == "empty":
            return b""
        else:
            raise TableError(f"unknown word {key} in the OCSP answer {text}")
    entity = certs[label]
    answer = Answer(**fields)
    return ocsp_answer.build(answer, entity, Question(entity.serial, answer.digest),
                             LabelledSigners(certs), entity.serial + 50000, MOMENT)


def crl_bytes(certs, name, text):
    """A CRL: 'revokes=leaf|inter,by=inter,next=-5,only_ca'."""
    issuer = certs.crl_issuers.get(name)
    fields, point, extensions, entries = {}, {}, [], []
    for key, value in words(text.replace(",", " ")):
        if key == "by":
            issuer = certs[value]
        elif key == "signer":
            fields["signer"] = certs[value]
        elif key == "revokes":
            entries += [(label, {}) for label in value.split("|")]
        elif key in ("holds", "unholds"):
            entries.append((value, {"reason": 6 if key == "holds" else 8}))
        elif key == "names_issuer":  # of the entry before: for indirect CRLs
            entries[-1][1]["issuer"] = certs[value]
        elif key in ("this", "next"):
            fields[f"{key}_update_s"] = _seconds(value)
        elif key in ("only_ca", "only_user", "only_attribute", "indirect"):
            point[key] = True
        elif key == "reasons":
            point["reasons"] = [REASON_BITS[one] for one in value.split("|")]
        elif key == "point":
            point["url"] = crl_url(value)
        elif key == "number":
            extensions.append(crl.number(int(value)))
        elif key == "delta_of":
            extensions.append(crl.delta_of(int(value)))
        elif key == "freshest":
            extensions.append(crl.freshest(crl_url(value)))
        elif key == "unknown":
            extensions.append(crl.unknown(value == "critical"))
        elif key in ("signature", "truncate"):
            fields["damage"] = key
        elif key == "garbage":
            return b"this is no CRL"
        elif key == "empty":
            return b""
        elif key != "fresh":
            raise TableError(f"unknown word {key} in the CRL {text}")
    if point:
        extensions.append(crl.issuing_point(**point))
    encoded = b"".join(crl.entry(certs[label].serial, moment=MOMENT, **more)
                       for label, more in entries)
    return crl.build(issuer, entries=encoded, extensions=extensions, moment=MOMENT, **fields)


# ---- cases.txt ------------------------------------------------------------------------

class Writer:
    def __init__(self, folder):
        self.folder = folder
        self.certs = Certificates(folder / "certs")
        self.answers = folder / "answers"
        self.answers.mkdir()
        self.kept = {}  # file by its description: many cases say the same

    def keep(self, kind, about, text):
        key = (kind, about, text)
        if key not in self.kept:
            make = crl_bytes if kind == "crl" else ocsp_bytes
            path = self.answers / f"{len(self.kept):04}.{kind}"
            path.write_bytes(make(self.certs, about, text))
            self.kept[key] = f"answers/{path.name}"
        return self.kept[key]

    def cert(self, label):
        if label.startswith("bytes:"):
            path = self.folder / "certs" / f"{label.replace(':', '-')}.der"
            path.write_bytes({"bytes:garbage": b"no certificate",
                              "bytes:trailing": self.certs["leaf"].der + b"\0"}[label])
        else:
            path = self.folder / "certs" / f"{self.certs[label].label}.der"
        return f"certs/{path.name}"

    def block(self, case):
        """The lines of one case; unmentioned URLs answer well."""
        given = words(case.given)
        lines = [f"case {case.name}", f"family {case.family}", f"expect {case.expect}",
                 f"policy {case.policy}"]
        now_s, anchors = NOW_S, ["root"]
        for key, value in given:
            if key == "now":
                now_s += int(value)
            elif key == "anchors":
                anchors = value.split("|")
            elif key == "crl_issuer":
                lines.append(f"crl_issuer {self.cert(value)}")
            elif key.startswith("crl:"):
                lines.append(f"given_crl {self.keep('crl', key[4:], value)}")
            elif key.startswith("crl_file:"):
                lines.append(f"crl_file {self.keep('crl', key[9:], value)}")
            elif key == "own":  # whose key, or "none" at all, or "nothing" could be had
                key_of = value or case.peer[0]
                lines.append(f"own {key_of if key_of in ('none', 'nothing') else f'certs/{key_of}.key'}")
            elif key in ("client", "expire", "expire_before", "alloc", "fail"):
                lines.append(f"{key} {value}".rstrip())
            else:
                raise TableError(f"vectors.tsv: {case.name}: unknown word {key}")
        lines.append(f"now {now_s}")
        if case.wanted != "none":
            lines.append(f"name {case.wanted}")
        lines += [f"anchor {self.cert(label)}" for label in anchors]
        lines += [f"cert {self.cert(label)}" for label in case.peer]
        lines += self.replies(case)
        return lines + ["end"]

    def replies(self, case):
        lines, told = [], set()
        for key, value in words(case.answers):
            kind, _, about = key.partition(":")
            if kind == "staple":
                index = case.peer.index(about)
                lines.append(f"staple {index} {self.keep('ocsp', about, value)}")
                continue
            if kind not in ("ocsp", "ocsp2", "crl", "cache", "crl_cache"):
                raise TableError(f"vectors.tsv: {case.name}: unknown answer {key}")
            is_crl = kind.startswith("crl")
            url = crl_url(about) if is_crl else self.ocsp_urls(about)[kind == "ocsp2"]
            if value in FAILURES:
                lines.append(f"reply {url} {value} -")
            else:
                file = self.keep("crl" if is_crl else "ocsp", about, value)
                lines.append(f"reply {url} {'cached' if 'cache' in kind else 'ok'} {file}")
            if "cache" not in kind:
                told.add(url)
            if not is_crl:
                lines.append(f"about {url} {self.cert(about)}")
        for label in self.concerned(case):
            for url in self.ocsp_urls(label):
                if url not in told and url.startswith("http://ocsp.test/"):
                    lines.append(f"reply {url} ok {self.keep('ocsp', label, 'good')}")
                    lines.append(f"about {url} {self.cert(label)}")
                    told.add(url)
            for name in self.certs.crl_names.get(label, []):
                if crl_url(name) not in told and crl_url(name).startswith("http://"):
                    lines.append(f"reply {crl_url(name)} ok {self.keep('crl', name, 'fresh')}")
                    told.add(crl_url(name))
        return lines

    def concerned(self, case):
        """Whose status may be asked: the presented certificates and the responders."""
        labels = [label for label in case.peer if label in self.certs.pki.entities]
        for _, value in words(case.answers.replace(",", " ")):
            if value in self.certs.pki.entities:
                labels.append(value)
        for key, value in words(case.policy):
            if key == "ocsp_responder":
                labels.append(value.rpartition("/")[2])
        return labels

    def ocsp_urls(self, label):
        try:
            access = self.certs[label].cert.extensions.get_extension_for_class(
                x509.AuthorityInformationAccess).value
        except (x509.ExtensionNotFound, ValueError):
            return []
        return [one.access_location.value for one in access
                if one.access_method == x509.AuthorityInformationAccessOID.OCSP]


def generate(folder):
    """All vectors below `folder`, which is emptied first."""
    folder = Path(folder)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    writer = Writer(folder)
    lines = []
    for case in cases():
        lines += writer.block(case)
    (folder / "cases.txt").write_text("\n".join(lines) + "\n")
    return folder


if __name__ == "__main__":
    generate(sys.argv[1])
