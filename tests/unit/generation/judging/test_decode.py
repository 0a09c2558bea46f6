"""Whatever a member uploads: a clean picture or one clear sentence, never a crash or a hang."""

import asyncio
import io
import json
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin

from generation.judging.safety.decode import DecodeLimits, decode_upload
from generation.work.errors import ImageRefused

CORPORA = Path(__file__).parents[5] / "shared" / "corpora"


def encoded(image, file_format, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, format=file_format, **options)
    return file.getvalue()


def noise(width=64, height=48):
    return Image.effect_noise((width, height), 90).convert("RGB")


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def flat_png(width, height) -> bytes:
    """A black and white PNG of any size that is small on disk."""
    packer = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    packed = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


async def opened(content, **options):
    return Image.open(io.BytesIO((await decode_upload(content, **options)).png))


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "GIF"])
async def test_the_four_formats_come_back_as_rgb_png(file_format):
    done = await decode_upload(encoded(noise(), file_format))
    with Image.open(io.BytesIO(done.png)) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "RGB", (64, 48))
    assert (done.width, done.height) == (64, 48)


async def test_an_animated_gif_is_its_first_frame():
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue", "green")]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    image = await opened(content)
    assert image.getextrema() == ((255, 255), (0, 0), (0, 0))


async def test_a_photo_taken_sideways_stands_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert (await opened(encoded(noise(), "JPEG", exif=exif))).size == (48, 64)


async def test_what_is_transparent_becomes_white():
    image = await opened(encoded(Image.new("RGBA", (8, 8), (9, 9, 9, 0)), "PNG"))
    assert image.getpixel((3, 3)) == (255, 255, 255)


async def test_a_large_picture_is_scaled_down_to_the_longest_side():
    assert (await opened(encoded(noise(2048, 512), "PNG"))).size == (1024, 256)


async def test_nothing_but_pixels_survives():
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "my address")
    exif = Image.Exif()
    exif[0x010E] = "my address"
    content = encoded(noise(), "PNG", pnginfo=info, exif=exif)
    assert b"my address" in content
    assert b"my address" not in (await decode_upload(content)).png


NOT_A_PICTURE = "not a picture"
DAMAGED = "damaged"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        pytest.param(b"", NOT_A_PICTURE, id="empty"),
        pytest.param(b"MZ" + bytes(500), NOT_A_PICTURE, id="program"),
        pytest.param(b"<svg xmlns='http://www.w3.org/2000/svg'/>", NOT_A_PICTURE, id="svg"),
        pytest.param(encoded(noise(), "TIFF"), NOT_A_PICTURE, id="tiff"),
        pytest.param(encoded(noise(), "BMP"), NOT_A_PICTURE, id="bmp"),
        pytest.param(encoded(noise(), "WEBP")[:900], DAMAGED, id="truncated webp"),
        pytest.param(encoded(noise(), "PNG")[:4000], DAMAGED, id="truncated png"),
        pytest.param(encoded(noise(), "JPEG")[:1200], DAMAGED, id="truncated jpeg"),
        pytest.param(flat_png(8000, 6250), "40 megapixels", id="50 megapixels"),
        pytest.param(flat_png(30000, 30000), "40 megapixels", id="decompression bomb"),
    ],
)
async def test_what_cannot_be_used_is_refused_with_its_own_sentence(content, sentence):
    assert len(content) < 2**20
    with pytest.raises(ImageRefused, match=sentence) as refused:
        await decode_upload(content)
    assert str(refused.value).rstrip(".").count("\n") == 0


async def test_a_text_bomb_in_a_png_is_refused():
    bomb = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(50 * 2**20), 9))
    png = encoded(noise(), "PNG")
    with pytest.raises(ImageRefused):
        await decode_upload(png[:33] + bomb + png[33:])


async def test_a_file_that_is_too_large_never_reaches_a_decoder():
    with pytest.raises(ImageRefused, match="larger than 1 MB"):
        await decode_upload(bytes(2**20 + 1), limits=DecodeLimits(size_bytes=2**20))


async def test_what_takes_too_long_is_stopped():
    started_s = time.monotonic()
    with pytest.raises(ImageRefused, match="too long"):
        await decode_upload(flat_png(6000, 6000), limits=DecodeLimits(timeout_s=0.02))
    assert time.monotonic() - started_s < 5


async def test_what_needs_too_much_memory_or_time_is_refused():
    for limits in (DecodeLimits(memory_bytes=48 * 2**20), DecodeLimits(cpu_s=0)):
        with pytest.raises(ImageRefused):
            await decode_upload(flat_png(6000, 6000), limits=limits)


def test_the_child_loads_pillow_and_nothing_of_ours_or_heavy():
    script = (
        "import json, sys; import generation.judging.safety.decode_child;"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert not {"torch", "numpy", "discord", "asyncio"} & set(json.loads(done.stdout))


@pytest.mark.skipif(
    not CORPORA.is_dir(), reason="no corpora of hostile pictures beside the checkout"
)
async def test_every_hostile_file_gets_a_sentence_or_a_picture():
    files = sorted(path for path in CORPORA.rglob("*") if path.is_file() and path.suffix != ".md")
    assert len(files) > 40
    pending, refused = iter(files), []

    async def answer_some():
        for path in pending:
            try:
                done = await decode_upload(path.read_bytes())
            except ImageRefused as error:
                refused.append((path.name, str(error)))
            else:
                with Image.open(io.BytesIO(done.png)) as image:
                    image.load()
                    assert image.mode == "RGB"

    await asyncio.gather(answer_some(), answer_some())
    assert any("bomb" in name for name, _ in refused)
    assert all(sentence.endswith(".") and "\n" not in sentence for _, sentence in refused)
