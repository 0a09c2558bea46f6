"""What of a PNG reaches the decoder: the chunks that pixels are made of, and nothing else.

Text, previews, animation and whatever editors leave are dropped unread, however large or damaged:
nothing of them would be kept. What describes colours and orientation is returned beside the file.

Source: Portable Network Graphics (Third Edition), https://www.w3.org/TR/png-3/
"""

import dataclasses
import struct
import zlib
from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEADER = struct.Struct(">4xIIBBBBB")  # after the kind: width, height, bit depth, colour type ...
MAX_PROFILE_BYTES = 4 * 2**20
ONE_GAMMA = 100_000  # of the unit in gAMA
USUAL_GAMMA = 45_455  # 1/2.2, as of sRGB
# sRGB's white, red, green and blue in the unit of cHRM (RFC 2083, 12.4.1), and what rounding makes.
SRGB_CHROMATICITIES = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
CHROMATICITY_ROUNDING = 1000
SRGB_CODES = (1, 13)  # cICP: the primaries of BT.709 with the curve of sRGB (ITU-T H.273)
SRGB_LIKE_CODES = (1, 1)  # BT.709's own curve, which viewers show as sRGB
KEYS = {0: 2, 2: 6}  # bytes of tRNS by colour type: one grey, or one colour


@dataclasses.dataclass(slots=True)
class PngParts:
    """A PNG taken apart.

    Args:
        pixels: A PNG of critical chunks and tRNS.
        bit_depth: Of a sample.
        is_animated: It has frames beside the picture.
        exif: Of eXIf, or empty.
        profile: ICC profile, or empty.
        gamma: Of gAMA where nothing better describes its colours; 1/2.2 is usual.
        is_colour_unknown: Its colours are described by something that is not followed.
    """

    pixels: bytes
    bit_depth: int
    is_animated: bool = False
    exif: bytes = b""
    profile: bytes = b""
    gamma: float = USUAL_GAMMA / ONE_GAMMA
    is_colour_unknown: bool = False


def take_apart(content: bytes) -> PngParts | None:
    """Return the parts of a PNG, or None if it does not begin like one."""
    chunks = dict[bytes, bytes]()
    kept: list[bytes | memoryview] = [SIGNATURE]
    for kind, chunk in _chunks(content):
        if kind[:1].isupper():  # critical
            kept.append(chunk)
            if kind == b"IHDR":
                chunks.setdefault(kind, bytes(chunk[4:-4]))
        elif kind == b"tRNS" and _is_key(chunks.get(b"IHDR"), chunk):
            kept.append(chunk)
        elif kind not in chunks and _is_whole(chunk):
            chunks[kind] = bytes(chunk[8:-4])
    header = chunks.get(b"IHDR", b"")
    if len(header) != HEADER.size:
        return None
    parts = PngParts(b"".join(kept), bit_depth=HEADER.unpack(header)[2])
    parts.is_animated = b"acTL" in chunks
    parts.exif = chunks.get(b"eXIf", b"")
    _describe_colours(parts, chunks)
    return parts


def _chunks(content: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Yield each chunk's kind and bytes, from its length to its checksum; the last may be short."""
    if not content.startswith(SIGNATURE):
        return
    view, start = memoryview(content), len(SIGNATURE)
    while start + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, start)
        yield kind, view[start : start + 12 + length]
        if kind == b"IEND":
            return
        start += 12 + length


def _is_whole(chunk: memoryview) -> bool:
    (length,) = struct.unpack_from(">I", chunk)
    return len(chunk) == 12 + length and zlib.crc32(chunk[4:-4]).to_bytes(4, "big") == chunk[-4:]


def _is_key(header: bytes | None, chunk: memoryview) -> bool:
    """Return whether a tRNS chunk fits the colour type, as viewers demand."""
    if header is None or len(header) != HEADER.size or not _is_whole(chunk):
        return False
    colour_type, length = HEADER.unpack(header)[3], len(chunk) - 12
    return length == KEYS.get(colour_type) or (colour_type == 3 and 1 <= length <= 256)


def _describe_colours(parts: PngParts, chunks: dict[bytes, bytes]) -> None:
    """Follow the first of cICP, iCCP, sRGB and gAMA with cHRM, as the standard orders them."""
    if len(codes := chunks.get(b"cICP", b"")) == 4:
        parts.is_colour_unknown = tuple(codes[:2]) not in {SRGB_CODES, SRGB_LIKE_CODES}
    elif b"iCCP" in chunks:
        parts.profile = _unpacked_profile(chunks[b"iCCP"])
        parts.is_colour_unknown = not parts.profile
    elif b"sRGB" not in chunks and len(gamma := chunks.get(b"gAMA", b"")) == 4:
        parts.gamma = (int.from_bytes(gamma, "big") or USUAL_GAMMA) / ONE_GAMMA
        points = chunks.get(b"cHRM", b"")
        parts.is_colour_unknown = len(points) == 32 and not _is_srgb(struct.unpack(">8I", points))


def _is_srgb(points: tuple[int, ...]) -> bool:
    differences = [abs(one - other) for one, other in zip(points, SRGB_CHROMATICITIES, strict=True)]
    return max(differences) <= CHROMATICITY_ROUNDING


def _unpacked_profile(packed: bytes) -> bytes:
    """Return the profile of an iCCP chunk, or nothing if it is damaged or too large."""
    unpacker = zlib.decompressobj()
    try:
        profile = unpacker.decompress(packed.partition(b"\0")[2][1:], MAX_PROFILE_BYTES)
    except zlib.error:
        return b""
    return profile if unpacker.eof else b""
