"""A lab PKI: certificates by label, each of them also a file.

Everything follows RFC 5280's profile (what X509_V_FLAG_X509_STRICT looks at)
unless a caller asks for a particular defect.
"""
import ipaddress
import subprocess
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import (AuthorityInformationAccessOID as AIA, ExtendedKeyUsageOID as EKU,
                                   NameOID)

from . import der

USAGES = {
    "server": EKU.SERVER_AUTH,
    "client": EKU.CLIENT_AUTH,
    "ocsp": EKU.OCSP_SIGNING,
}
# Signature algorithms with SHA-1, by the key's: a library no longer signs certificates with them.
ECDSA_SHA1, RSA_SHA1 = "1.2.840.10045.4.1", "1.2.840.113549.1.1.5"


def new_key(kind):
    """p256, rsaBITS, or rsaBITSeBITS with a public exponent of so many bits."""
    if kind == "p256":
        return ec.generate_private_key(ec.SECP256R1())
    bits, _, exponent_bits = kind.removeprefix("rsa").partition("e")
    if exponent_bits:
        return serialization.load_pem_private_key(subprocess.run(
            ["openssl", "genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt",
             f"rsa_keygen_bits:{bits}", "-pkeyopt",
             f"rsa_keygen_pubexp:{2 ** (int(exponent_bits) - 1) + 1}"],
            stdout=subprocess.PIPE, check=True).stdout, None)
    return rsa.generate_private_key(65537, int(kind.removeprefix("rsa")))


def now():
    """UTC, naive, whole seconds: what X.509 can express."""
    return datetime.now(timezone.utc).replace(microsecond=0, tzinfo=None)


@dataclass(frozen=True)
class Entity:
    """A certificate with its key and its issuer."""

    label: str
    cert: x509.Certificate
    key: object
    issuer: "Entity"  # None: self-signed
    folder: Path

    @property
    def cert_path(self):
        return self.folder / f"{self.label}.pem"

    @property
    def key_path(self):
        return self.folder / f"{self.label}.key"

    @property
    def der(self):
        return self.cert.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self):
        return self.cert.public_bytes(serialization.Encoding.PEM)

    @property
    def starts_at(self):
        """UTC, naive."""
        return _naive(self.cert, "not_valid_before")

    @property
    def expires_at(self):
        """UTC, naive."""
        return _naive(self.cert, "not_valid_after")

    @property
    def serial(self):
        return self.cert.serial_number

    @property
    def signer(self):
        """Who signs this certificate's OCSP answers by default."""
        return self.issuer or self


class Pki:
    def __init__(self, folder, started=None):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.entities = {}
        self.started = started or now()

    def __getitem__(self, label):
        return self.entities[label]

    def issue(self, label, issuer=None, *, ca=False, cn=None, sans=(), days=90.0, starts=-1.0,
              path_len=None, key="p256", like=None, digest="sha256", usages=("server",),
              ocsp=(), ca_issuers=(), must_staple=False, nocheck=False, basic_critical=True,
              drop=(), extra=(), permitted=(), serial=None):
        """A new certificate.

        issuer None self-signs; starts and days are days relative to now;
        like takes name and key of another entity (cross certificates); drop
        leaves out "ski", "aki", "ku" or "eku"; extra is (extension, critical)
        pairs; permitted is DNS name constraints of a CA.
        """
        private = like.key if like else new_key(key)
        subject = like.cert.subject if like else _name(cn if cn is not None else label)
        begin = self.started + timedelta(days=starts)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.cert.subject if issuer else subject)
            .public_key(private.public_key())
            .serial_number(serial or x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(begin + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca, path_len if ca else None),
                           critical=basic_critical)
        )
        if "ku" not in drop:
            builder = builder.add_extension(_key_usage(ca, private), critical=True)
        if "ski" not in drop:
            builder = builder.add_extension(
                x509.SubjectKeyIdentifier.from_public_key(private.public_key()), critical=False)
        if issuer and "aki" not in drop:
            builder = builder.add_extension(_authority_key_id(issuer), critical=False)
        if not ca and "eku" not in drop:
            builder = builder.add_extension(
                x509.ExtendedKeyUsage([USAGES[word] for word in usages]), critical=False)
        if sans:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_general_name(san) for san in sans]),
                critical=False)
        if ocsp or ca_issuers:
            builder = builder.add_extension(_access(ocsp, ca_issuers), critical=False)
        if must_staple:
            builder = builder.add_extension(
                x509.TLSFeature([x509.TLSFeatureType.status_request]), critical=False)
        if nocheck:
            builder = builder.add_extension(x509.OCSPNoCheck(), critical=False)
        if permitted:
            builder = builder.add_extension(
                x509.NameConstraints([x509.DNSName(name) for name in permitted], None),
                critical=True)
        for extension, critical in extra:
            builder = builder.add_extension(extension, critical)
        signing_key = issuer.key if issuer else private
        cert = builder.sign(signing_key, hashes.SHA256())
        if digest == "sha1":
            cert = _signed_with_sha1(cert, signing_key)
        return self._keep(label, cert, private, issuer)

    def altered(self, label, entity):
        """The same certificate with a bit of its signature flipped."""
        der = bytearray(entity.der)
        der[-1] ^= 1
        return self._keep(label, x509.load_der_x509_certificate(bytes(der)), entity.key,
                          entity.issuer)

    def bundle(self, name, labels):
        """A PEM file with these certificates in this order."""
        path = self.folder / name
        path.write_bytes(b"".join(self[label].pem for label in labels))
        return path

    def _keep(self, label, cert, key, issuer):
        if label in self.entities:
            raise ValueError(f"certificate {label} exists already")
        entity = Entity(label, cert, key, issuer, self.folder)
        entity.cert_path.write_bytes(entity.pem)
        entity.key_path.write_bytes(key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption()))
        self.entities[label] = entity
        return entity


def _naive(cert, field):
    aware = getattr(cert, f"{field}_utc", None)  # from python3-cryptography 42 on
    return aware.replace(tzinfo=None) if aware else getattr(cert, field)


def _signed_with_sha1(cert, key):
    """The same certificate: weak on purpose, and so nothing that the library would make."""
    is_ec = isinstance(key, ec.EllipticCurvePrivateKey)
    algorithm = (der.sequence(der.oid(ECDSA_SHA1)) if is_ec
                 else der.sequence(der.oid(RSA_SHA1), der.null()))
    version, serial, _, *rest = der.split(cert.tbs_certificate_bytes)
    tbs = der.sequence(version, serial, algorithm, *rest)
    signature = (key.sign(tbs, ec.ECDSA(hashes.SHA1())) if is_ec
                 else key.sign(tbs, padding.PKCS1v15(), hashes.SHA1()))
    return x509.load_der_x509_certificate(der.sequence(tbs, algorithm, der.bits(signature)))


def _name(cn):
    return x509.Name([
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "strict-tls lab"),
        x509.NameAttribute(NameOID.COMMON_NAME, cn),
    ])


def _general_name(san):
    if isinstance(san, x509.GeneralName):
        return san
    try:
        return x509.IPAddress(ipaddress.ip_address(san))
    except ValueError:
        return x509.DNSName(san)


def _key_usage(ca, key):
    return x509.KeyUsage(
        digital_signature=True,
        key_encipherment=not ca and isinstance(key, rsa.RSAPrivateKey),
        key_cert_sign=ca, crl_sign=ca,
        content_commitment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False)


def _authority_key_id(issuer):
    try:
        ski = issuer.cert.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except (x509.ExtensionNotFound, ValueError):  # none, or some extension does not decode
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ski.value)


def _access(ocsp, ca_issuers):
    return x509.AuthorityInformationAccess([
        x509.AccessDescription(method, x509.UniformResourceIdentifier(url))
        for method, urls in ((AIA.OCSP, ocsp), (AIA.CA_ISSUERS, ca_issuers))
        for url in urls
    ])
