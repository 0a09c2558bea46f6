"""The guarded child: one picture in on stdin, one line of JSON and a PNG out on stdout.

It imports Pillow and nothing else, gives up its rights before it reads, and answers every damage
with one sentence. What kills it is answered by its parent.
"""

import io
import json
import resource
import struct
import sys
import warnings
import zlib

from PIL import Image, ImageFile, ImageOps, PngImagePlugin, UnidentifiedImageError

FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
NOT_A_PICTURE = "That file is not a picture I can open. Please use PNG, JPEG, WebP or GIF."
DAMAGED = "That picture is damaged; please save it again and try once more."
OPEN_FILES = 16
# What decoders raise on damaged files, beside what Pillow documents.
DECODER_ERRORS = (
    *(OSError, ValueError, SyntaxError, LookupError, ArithmeticError),
    *(TypeError, AttributeError, EOFError, MemoryError, struct.error, zlib.error),
)


def main() -> None:
    """Decode stdin under the limits of the first argument."""
    limits = json.loads(sys.argv[1])
    _give_up_rights(limits)
    content = sys.stdin.buffer.read()
    try:
        picture = decode(content, limits["max_pixels"], limits["max_side_px"])
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        megapixels = limits["max_pixels"] // 1_000_000
        _answer({"refused": f"That picture has more than {megapixels} megapixels."})
    except UnidentifiedImageError:
        _answer({"refused": NOT_A_PICTURE})
    except DECODER_ERRORS:
        _answer({"refused": DAMAGED})
    else:
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        _answer({"width": picture.width, "height": picture.height}, buffer.getvalue())


def decode(content: bytes, max_pixels: int, max_side_px: int) -> Image.Image:
    """Return the first frame, upright, on white, without metadata, at most `max_side_px` long.

    Raises:
        DecompressionBombError: It has more than `max_pixels` pixels.
        UnidentifiedImageError: It is none of the accepted formats.
        Exception: Whatever a decoder raises on a damaged file.
    """
    Image.MAX_IMAGE_PIXELS = max_pixels
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    PngImagePlugin.MAX_TEXT_CHUNK = 2**16
    PngImagePlugin.MAX_TEXT_MEMORY = 2**20
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    with Image.open(io.BytesIO(content), formats=FORMATS) as opened:
        opened.draft("RGB", (max_side_px, max_side_px))
        opened.load()
        rgba = ImageOps.exif_transpose(opened).convert("RGBA")
    rgba.thumbnail((max_side_px, max_side_px))
    clean = Image.new("RGB", rgba.size, "white")
    clean.paste(rgba, mask=rgba.getchannel("A"))
    return clean


def _give_up_rights(limits: dict[str, int]) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (limits["memory_bytes"],) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (limits["cpu_s"],) * 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _answer(head: dict[str, int | str], png: bytes = b"") -> None:
    sys.stdout.buffer.write(json.dumps(head).encode() + b"\n" + png)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
