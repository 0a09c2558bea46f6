"""Pictures as people have them, made here: every depth, profile, orientation and shape."""

import io
import struct
import zlib
from collections.abc import Sequence

from PIL import Image, ImageCms, PngImagePlugin

GREY, COLOUR, PALETTE, GREY_ALPHA, COLOUR_ALPHA = 0, 2, 3, 4, 6  # PNG's colour types
SAMPLES = {GREY: 1, COLOUR: 3, PALETTE: 1, GREY_ALPHA: 2, COLOUR_ALPHA: 4}
# Display P3's red, green and blue in XYZ, adapted to D50 (as in Apple's profile).
DISPLAY_P3 = ((0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841))


def encoded(image: Image.Image, file_format: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, format=file_format, **options)
    return file.getvalue()


def noise(width=64, height=48) -> Image.Image:
    return Image.effect_noise((width, height), 90).convert("RGB")


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(rows: Sequence[Sequence[int]], depth: int, colour_type: int, *before: bytes) -> bytes:
    """A PNG written by hand: rows of samples, and chunks before the pixels."""
    packed = b"".join(b"\0" + packed_row(row, depth) for row in rows)
    width = len(rows[0]) // SAMPLES[colour_type]
    header = struct.pack(">IIBBBBB", width, len(rows), depth, colour_type, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(packed))
    chunks = (chunk(b"IHDR", header), *before, pixels, chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def packed_row(row: Sequence[int], depth: int) -> bytes:
    bits = "".join(format(sample, f"0{depth}b") for sample in row)
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def with_chunks(content: bytes, *chunks: bytes) -> bytes:
    """A PNG with more chunks after its header."""
    return content[:33] + b"".join(chunks) + content[33:]


def flat_png(width, height) -> bytes:
    """A black and white PNG of any size that is small on disk."""
    packer = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    packed = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def profile_of(primaries: Sequence[Sequence[float]]) -> bytes:
    """sRGB's profile with other primaries (XYZ adapted to D50)."""
    profile = bytearray(srgb_profile())
    (count,) = struct.unpack_from(">I", profile, 128)
    for place in range(132, 132 + 12 * count, 12):
        name, offset, _ = struct.unpack_from(">4sII", profile, place)
        if name in {b"rXYZ", b"gXYZ", b"bXYZ"}:
            xyz = primaries[b"rgb".index(name[:1])]
            struct.pack_into(">3i", profile, offset + 8, *(round(65536 * part) for part in xyz))
    return bytes(profile)


def jpeg_of_many_scans(scans: int) -> bytes:
    """A progressive JPEG whose last scan is sent over and over: small, sound and slow."""
    content = encoded(Image.new("RGB", (3000, 3000)), "JPEG", progressive=True)
    end = len(content) - 2
    scan = content[content.rindex(b"\xff\xc4") : end]  # with its Huffman table
    return content[:end] + scan * scans + content[end:]


def animated(file_format: str) -> bytes:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue", "green")]
    lossless = {"lossless": True} if file_format == "WEBP" else {}
    return encoded(frames[0], file_format, save_all=True, append_images=frames[1:], **lossless)


def text_of(size_bytes: int) -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "x" * size_bytes)
    return info
