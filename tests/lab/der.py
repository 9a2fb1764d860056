"""Just enough DER to write what a library refuses to write."""


def tlv(tag, *parts):
    body = b"".join(parts)
    size = len(body)
    if size < 0x80:
        return bytes([tag, size]) + body
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + body


def sequence(*parts):
    return tlv(0x30, *parts)


def explicit(number, *parts):
    return tlv(0xA0 | number, *parts)


def integer(value):
    return tlv(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def enumerated(value):
    return tlv(0x0A, bytes([value]))


def octets(body):
    return tlv(0x04, body)


def bits(body):
    return tlv(0x03, b"\0", body)


def null():
    return tlv(0x05)


def split(value):
    """The values in a constructed value, each with its tag and length."""
    at, parts = _header_len(value), []
    while at < len(value):
        end = at + _header_len(value[at:]) + _content_len(value[at:])
        parts.append(value[at:end])
        at = end
    return parts


def _header_len(value):
    return 2 + (value[1] & 0x7F if value[1] & 0x80 else 0)


def _content_len(value):
    return int.from_bytes(value[2:_header_len(value)], "big") if value[1] & 0x80 else value[1]


def oid(dotted):
    first, second, *rest = map(int, dotted.split("."))
    body = bytearray()
    for arc in [first * 40 + second, *rest]:
        groups = [arc & 0x7F]
        while arc := arc >> 7:
            groups.append(0x80 | arc & 0x7F)
        body += bytes(reversed(groups))
    return tlv(0x06, bytes(body))


def time(when):
    """GeneralizedTime of a naive UTC datetime."""
    return tlv(0x18, when.strftime("%Y%m%d%H%M%SZ").encode())
