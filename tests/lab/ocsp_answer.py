"""OCSP answers (RFC 6960), good and bad, written in DER by hand.

A library refuses to write most of the bad ones: no response in the list,
another certificate's answer first, a broken signature.
"""
import os
from dataclasses import dataclass, field, replace
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.x509 import ocsp

from . import der
from .pki import now

OID_BASIC = "1.3.6.1.5.5.7.48.1.1"
OID_NONCE = "1.3.6.1.5.5.7.48.1.2"
OID_SHA1 = "1.3.14.3.2.26"
OID_SHA256 = "2.16.840.1.101.3.4.2.1"
OID_ECDSA_SHA256 = "1.2.840.10045.4.3.2"
OID_RSA_SHA256 = "1.2.840.113549.1.1.11"

MALFORMED_REQUEST, INTERNAL_ERROR, TRY_LATER, SIG_REQUIRED, UNAUTHORIZED = 1, 2, 3, 5, 6


@dataclass(frozen=True)
class Answer:
    """What an answer says and what is wrong with it."""

    status: str = "good"  # good, revoked, unknown
    reason: int = 1  # of a revocation: keyCompromise
    revoked_s: int = -3600  # when it was revoked, relative to now
    this_update_s: int = -3600  # relative to now
    next_update_s: int = 86400  # relative to now; None: absent
    error: int = 0  # a response status other than successful: nothing else is sent
    about: str = "asked"  # asked, other (certificate), other_first, nobody (empty list)
    signer: str = "issuer"  # a role of Signers
    by_key: bool = True  # responder id: key hash or name
    digest: str = "sha1"  # of the certificate id, where no request says it
    nonce: str = "echo"  # echo, none, wrong
    damage: str = ""  # signature, inside, truncate, garbage, trailing

    def but(self, **changes):
        return replace(self, **changes)


@dataclass(frozen=True)
class Question:
    """The part of a request that shapes its answer."""

    serial: int
    digest: str = "sha1"
    nonce: bytes = None


@dataclass
class Signers:
    """Who signs: (certificate entity, whether to include its certificate) by role."""

    roles: dict = field(default_factory=dict)

    def pick(self, role, entity):
        if role == "issuer":
            return entity.signer, False
        if role == "self":
            return entity, True
        return self.roles[(role, entity.signer.label)], True


def build(answer, entity, question, signers, other_serial, moment=None):
    """DER of `answer` about `entity`; its times are relative to `moment`, or to now."""
    if answer.damage == "garbage":
        return b"this is not DER"
    if answer.error:
        return der.sequence(der.enumerated(answer.error))
    signer, include = signers.pick(answer.signer, entity)
    basic = _basic(answer, entity, question, signer, include, other_serial, moment or now())
    if answer.damage == "inside":
        basic = basic[:len(basic) // 2]
    whole = der.sequence(
        der.enumerated(0),
        der.explicit(0, der.sequence(der.oid(OID_BASIC), der.octets(basic))))
    if answer.damage == "truncate":
        return whole[:len(whole) // 2]
    if answer.damage == "trailing":
        return whole + b"\0" * 16
    return whole


def _basic(answer, entity, question, signer, include, other_serial, moment):
    single = _single(answer, entity, question, question.serial, moment)
    other = _single(answer.but(status="good"), entity, question, other_serial, moment)
    singles = {
        "asked": [single],
        "other": [other],
        "other_first": [other, single],
        "nobody": [],
    }[answer.about]
    parts = [
        _responder_id(signer, answer.by_key),
        der.time(moment + timedelta(seconds=min(answer.this_update_s, 0))),
        der.sequence(*singles),
    ]
    nonce = {"echo": question.nonce, "none": None, "wrong": os.urandom(16)}[answer.nonce]
    if nonce:
        extension = der.sequence(der.oid(OID_NONCE), der.octets(der.octets(nonce)))
        parts.append(der.explicit(1, der.sequence(extension)))
    data = der.sequence(*parts)
    signature = bytearray(_sign(signer.key, data))
    if answer.damage == "signature":
        signature[-1] ^= 1
    certificates = [der.explicit(0, der.sequence(signer.der))] if include else []
    return der.sequence(data, _algorithm(signer.key), der.bits(bytes(signature)), *certificates)


def _single(answer, entity, question, serial, moment):
    def at(seconds):
        return moment + timedelta(seconds=seconds)

    status = {
        "good": der.tlv(0x80),
        "unknown": der.tlv(0x82),
        "revoked": der.explicit(1, der.time(at(answer.revoked_s)),
                                der.explicit(0, der.enumerated(answer.reason))),
    }[answer.status]
    parts = [_cert_id(entity, question.digest, serial), status, der.time(at(answer.this_update_s))]
    if answer.next_update_s is not None:
        parts.append(der.explicit(0, der.time(at(answer.next_update_s))))
    return der.sequence(*parts)


def _cert_id(entity, digest, serial):
    issuer = entity.signer.cert
    algorithm, identifier = {
        "sha1": (hashes.SHA1(), OID_SHA1),
        "sha256": (hashes.SHA256(), OID_SHA256),
    }[digest]
    return der.sequence(
        der.sequence(der.oid(identifier), der.null()),
        der.octets(_hash(algorithm, issuer.subject.public_bytes())),
        der.octets(_hash(algorithm, _key_bits(issuer))),
        der.integer(serial))


def _responder_id(signer, by_key):
    if by_key:
        return der.explicit(2, der.octets(_hash(hashes.SHA1(), _key_bits(signer.cert))))
    return der.explicit(1, signer.cert.subject.public_bytes())


def _key_bits(cert):
    """The BIT STRING's content of the public key: what key hashes are made of."""
    key = cert.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.public_bytes(serialization.Encoding.X962,
                                serialization.PublicFormat.UncompressedPoint)
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.PKCS1)


def _hash(algorithm, data):
    digest = hashes.Hash(algorithm)
    digest.update(data)
    return digest.finalize()


def _algorithm(key):
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return der.sequence(der.oid(OID_ECDSA_SHA256))
    return der.sequence(der.oid(OID_RSA_SHA256), der.null())


def _sign(key, data):
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(data, ec.ECDSA(hashes.SHA256()))
    return key.sign(data, padding.PKCS1v15(), hashes.SHA256())


def parse_question(request_der):
    """The first request in it; ValueError if it is none."""
    request = ocsp.load_der_ocsp_request(request_der)
    try:
        nonce = request.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce
    except x509.ExtensionNotFound:
        nonce = None
    return Question(request.serial_number, request.hash_algorithm.name, nonce)
