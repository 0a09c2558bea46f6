"""Whatever a member uploads: a clean picture or one clear sentence, never a crash or a hang."""

import asyncio
import io
import json
import os
import subprocess
import sys
import time
import zlib
from pathlib import Path

import psutil
import pytest
from PIL import Image, PngImagePlugin

from generation.judging.safety import decode
from generation.judging.safety.answers import Change, Refusal
from generation.judging.safety.decode import DecodeLimits, Decoder
from generation.work.errors import ImageRefused
from tests.unit.generation.judging.safety.pictures import (
    PALETTE,
    animated,
    chunk,
    encoded,
    flat_png,
    jpeg_of_many_scans,
    noise,
    png,
    with_chunks,
)

CORPORA = Path(__file__).parents[6] / "shared" / "corpora"


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "GIF"])
async def test_the_four_formats_come_back_as_rgb_png(file_format):
    done = await Decoder().decode(encoded(noise(), file_format))
    with Image.open(io.BytesIO(done.png)) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "RGB", (64, 48))
    assert (done.width, done.height, done.changes) == (64, 48, ())


async def test_what_changed_is_said_in_sentences():
    done = await Decoder().decode(animated("GIF"))
    assert done.changes == (Change.FIRST_FRAME,)
    assert done.changes[0].endswith(".")


async def test_nothing_but_pixels_survives():
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "my address")
    exif = Image.Exif()
    exif[0x010E] = "my address"
    content = encoded(noise(), "PNG", pnginfo=info, exif=exif)
    assert b"my address" in content
    done = await Decoder().decode(content)
    assert b"my address" not in done.png
    with Image.open(io.BytesIO(done.png)) as image:
        assert image.info == {}
        assert image.tobytes() == noise_as(content)


def noise_as(content: bytes) -> bytes:
    with Image.open(io.BytesIO(content)) as image:
        return image.convert("RGB").tobytes()


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
        pytest.param(encoded(noise(), "PNG")[:20], DAMAGED, id="png without a header"),
        pytest.param(encoded(noise(), "JPEG")[:40], DAMAGED, id="jpeg without a header"),
        pytest.param(png([[0, 1]], 8, PALETTE), DAMAGED, id="png without its palette"),
        pytest.param(flat_png(8000, 6250), "40 megapixels", id="50 megapixels"),
        pytest.param(flat_png(30000, 30000), "40 megapixels", id="decompression bomb"),
    ],
)
async def test_what_cannot_be_used_is_refused_with_its_own_sentence(content, sentence):
    assert len(content) < 2**20
    with pytest.raises(ImageRefused, match=sentence) as refused:
        await Decoder().decode(content)
    assert str(refused.value).rstrip(".").count("\n") == 0


async def test_a_webp_may_have_fewer_pixels_because_each_takes_more_memory():
    """A few bytes that move say they are 6,300 pixels wide and high."""
    side = (6300 - 1).to_bytes(3, "little")
    content = animated("WEBP")
    content = content[:24] + side + side + content[30:]
    assert len(content) < 500
    with pytest.raises(ImageRefused, match="24 megapixels"):
        await Decoder().decode(content)


async def test_a_text_bomb_in_a_png_is_never_unpacked():
    bomb = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(50 * 2**20), 9))
    limits = DecodeLimits(memory_bytes=130 * 2**20)
    done = await Decoder(limits).decode(with_chunks(encoded(noise(), "PNG"), bomb))
    assert (done.width, done.height) == (64, 48)


async def test_a_file_that_is_too_large_never_reaches_a_decoder():
    with pytest.raises(ImageRefused, match="larger than 1 MB"):
        await Decoder(DecodeLimits(size_bytes=2**20)).decode(bytes(2**20 + 1))


async def test_what_takes_too_long_is_stopped():
    started_s = time.monotonic()
    with pytest.raises(ImageRefused, match="too long"):
        await Decoder(DecodeLimits(timeout_s=0.02)).decode(flat_png(6000, 6000))
    assert time.monotonic() - started_s < 5


async def test_a_picture_that_takes_too_much_computing_is_told_so_and_not_that_it_is_none():
    with pytest.raises(ImageRefused) as refused:
        await Decoder(DecodeLimits(cpu_s=1)).decode(jpeg_of_many_scans(1000))
    assert str(refused.value) == Refusal.TOO_SLOW


async def test_a_picture_that_takes_too_much_memory_is_told_so():
    content = encoded(Image.new("RGB", (5000, 5000)), "PNG")
    with pytest.raises(ImageRefused) as refused:
        await Decoder(DecodeLimits(memory_bytes=100 * 2**20)).decode(content)
    assert str(refused.value) == Refusal.TOO_MUCH_MEMORY


def child_that(monkeypatch, *lines: str) -> None:
    """Run other code in the child's place, as a hole in a decoder would."""
    code = "\n".join(["import json, os, sys, time", *lines])
    monkeypatch.setattr(decode, "CHILD", ("-c", code))


@pytest.mark.parametrize(
    "said",
    [
        pytest.param("b'{}'", id="nothing"),
        pytest.param("b'[' * 4000", id="no answer"),
        pytest.param('{"guards": [], "refused": "@everyone"}', id="own words"),
        pytest.param('{"guards": ["@everyone"], "refused": "DAMAGED"}', id="own guards"),
        pytest.param('{"guards": [], "width": 1, "height": 1, "changes": []}', id="no pixels"),
        pytest.param('{"guards": [], "width": 1, "height": 0, "changes": []}\\n', id="no height"),
        pytest.param(
            '{"guards": [], "width": 1, "height": 1, "changes": ["@everyone"]}\\n123',
            id="own changes",
        ),
        pytest.param(
            '{"guards": [], "width": 4000, "height": 1, "changes": []}\\n' + "1" * 12000,
            id="larger than asked for",
        ),
    ],
)
async def test_a_child_that_was_taken_over_cannot_say_more_than_no(said, monkeypatch):
    literal = said if said.startswith("b'") else f"b'{said}'"
    child_that(monkeypatch, f"sys.stdout.buffer.write({literal})")
    with pytest.raises(ImageRefused) as refused:
        await Decoder().decode(b"anything")
    assert str(refused.value) == Refusal.NOT_A_PICTURE


async def test_a_child_that_was_taken_over_cannot_fill_our_memory(monkeypatch):
    child_that(monkeypatch, "while True: sys.stdout.buffer.write(bytes(2**20))")
    limits = DecodeLimits(max_side_px=64, timeout_s=30)
    started_s = time.monotonic()
    with pytest.raises(ImageRefused):
        await Decoder(limits).decode(b"anything")
    assert time.monotonic() - started_s < 20


async def test_a_child_that_cannot_start_is_not_blamed_on_the_picture(monkeypatch):
    child_that(monkeypatch, "raise ImportError('no Pillow')")
    with pytest.raises(ImageRefused) as refused:
        await Decoder().decode(b"anything")
    assert str(refused.value) == Refusal.UNABLE


async def test_two_pictures_are_opened_at_once_and_no_more():
    waiting, most = set(), 0

    async def outside(awaitable, what):
        nonlocal most
        task = asyncio.current_task()
        waiting.add(task)
        most = max(most, len(waiting))
        try:
            return await awaitable
        finally:
            waiting.discard(task)

    decoder = Decoder(outside=outside)
    fetched = 0

    async def fetch():
        nonlocal fetched, most
        fetched += 1
        return encoded(noise(), "PNG")

    done = await asyncio.gather(*(decoder.fetch_and_decode(fetch) for _ in range(5)))
    assert (len(done), fetched, most) == (5, 5, 2)


async def test_a_file_is_fetched_only_when_its_turn_comes(monkeypatch):
    child_that(monkeypatch, "time.sleep(60)")
    fetched = []

    async def fetch():
        fetched.append(1)
        return b"anything"

    decoder = Decoder(DecodeLimits(timeout_s=60))
    tasks = [asyncio.create_task(decoder.fetch_and_decode(fetch)) for _ in range(4)]
    await asyncio.sleep(0.1)
    assert len(fetched) == 2
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_who_stops_waiting_leaves_no_child_behind(monkeypatch):
    child_that(monkeypatch, "time.sleep(60) # nobody waits")
    decoder = Decoder(DecodeLimits(timeout_s=60))
    task = asyncio.create_task(decoder.decode(b"anything"))
    found = await asyncio.to_thread(children_with, "nobody waits")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    _, alive = await asyncio.to_thread(psutil.wait_procs, found, timeout=5)
    assert alive == []
    monkeypatch.undo()
    assert (await decoder.decode(encoded(noise(), "PNG"))).width == 64


def children_with(words: str) -> list[psutil.Process]:
    deadline_s = time.monotonic() + 10
    while time.monotonic() < deadline_s:
        children = psutil.Process(os.getpid()).children()
        if found := [child for child in children if words in str(child.cmdline())]:
            return found
        time.sleep(0.02)
    raise TimeoutError(words)


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
    files = sorted((CORPORA / "pillow").iterdir())
    assert len(files) > 40
    decoder, refused = Decoder(), {}

    async def answer(path):
        try:
            done = await decoder.decode(path.read_bytes())
        except ImageRefused as error:
            refused[path.name] = str(error)
        else:
            with Image.open(io.BytesIO(done.png)) as image:
                image.load()
                assert image.mode == "RGB"

    await asyncio.gather(*map(answer, files))
    assert any("bomb" in name for name in refused)
    assert all(sentence.endswith(".") and "\n" not in sentence for sentence in refused.values())
