"""What the terminal computes and what the documentation promises about permissions."""

import dataclasses
import datetime as dt
import io
import math
import os
import resource
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import discord
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console

from bot.chat.permissions import REASONS, REQUIRED, invite_link, missing
from bot.exits import ExitCode, Stop
from bot.grammar.prompts import parse, resolve
from bot.studio.seat import NOBODY, TERMINAL, clear_abandoned, seat
from bot.terminal.files import make_folder, write_whole
from bot.terminal.imagine import _words
from bot.terminal.log import JOINERS, _printable
from bot.terminal.reproduce import _words_note, distance
from bot.terminal.session import whole
from bot.terminal.sheet import check_sheet, check_sizes
from generation.work.checkpoints import PATTERN
from generation.work.jobs import JobState
from storage.asking import NewJob
from storage.store import Store

ROOT = Path(__file__).parents[3]


def png(pixels: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]") -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@given(seed=st.integers(0, 2**32 - 1), spread=st.integers(1, 255))
def test_the_distance_is_that_of_an_independent_computation(seed: int, spread: int) -> None:
    chance = np.random.default_rng(seed)
    one = chance.integers(0, 256, (9, 7, 3), dtype=np.uint8)
    change = chance.integers(-spread, spread + 1, one.shape)
    other = np.clip(one.astype(int) + change, 0, 255).astype(np.uint8)
    error = one.astype(float) - other
    apart = distance(png(one), png(other))
    assert apart is not None
    assert apart.max_abs == np.abs(error).max()
    assert apart.mean_abs == pytest.approx(np.abs(error).mean())
    if error.any():
        assert apart.psnr_db == pytest.approx(10 * math.log10(255**2 / (error**2).mean()))
    else:
        assert math.isinf(apart.psnr_db)


@pytest.mark.parametrize(
    ("template", "style", "said"),
    [
        ("{prompt}", None, ""),
        ("{prompt}, bold", "bold", ""),
        ("photo of {prompt}", "bold", "drawn with those of then, 'photo of {prompt}'; today"),
        ("{prompt}, oil", "oil", "no style 'oil' any more; drawn with its words of then"),
        ("", "bold", "drawn with those that 'bold' has today: '{prompt}, bold'"),
    ],
)
def test_a_style_whose_words_have_changed_is_named(
    template: str, style: str | None, said: str
) -> None:
    asked = resolve(parse("a fox"), checkpoint=PATTERN, seed=1, num_images=1).request
    request = dataclasses.replace(asked, template=template, style=style)
    note = _words_note(request, PATTERN)
    assert (said in note) if said else not note


def test_pictures_of_two_sizes_have_no_distance() -> None:
    assert distance(png(np.zeros((2, 2, 3), np.uint8)), png(np.zeros((2, 3, 3), np.uint8))) is None


@given(st.text())
def test_nothing_that_people_typed_moves_the_cursor(text: str) -> None:
    shown = _printable(text)
    assert all(letter.isprintable() or letter in JOINERS for letter in shown)


def test_a_word_is_shown_as_it_is_spelt_in_any_script() -> None:
    for text in ("می\u200cخواهم", "सेब", "白い猫", "👩\u200d🚀"):
        assert _printable(text) == text


def test_prompts_cannot_speak_rich_markup() -> None:
    console = Console(file=io.StringIO(), width=80)
    console.print(_printable("[bold red]fox[/] \x1b[31m"))
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == "[bold red]fox[/]  [31m\n"


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("a fox", "a fox"),
        ("白い猫 🦊", "白い猫 🦊"),
        ("a fox\udcff", "a fox\ufffd"),
        ("白".encode().decode("ascii", "surrogateescape"), "白"),  # under LC_ALL=C
    ],
)
def test_an_argument_is_text_whatever_the_locale_makes_of_it(argument: str, said: str) -> None:
    assert whole(argument) == said


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("A red apple!", "a-red-apple"),
        ("白い猫が窓辺で眠る", "白い猫が窓辺で眠る"),
        ("हिन्दी में लोमड़ी", "हिन्दी-में-लोमड़ी"),
        ("../../etc/passwd", "etc-passwd"),
        ("🦊", "picture"),
        ("x" * 500, "x" * 60),
        ("猫" * 500, "猫" * 20),
    ],
)
def test_a_picture_is_named_after_its_prompt_in_any_script(prompt: str, words: str) -> None:
    assert _words(prompt) == words


@given(st.text(max_size=200))
def test_a_name_made_of_any_prompt_is_one_short_part_of_a_path(prompt: str) -> None:
    words = _words(prompt)
    assert 0 < len(os.fsencode(words)) <= 60
    assert Path(words).name == words
    assert not words.startswith(".")


def test_a_file_that_does_not_fit_on_the_disk_is_not_there_at_all(tmp_path: Path) -> None:
    path = tmp_path / "fox.png"
    path.write_bytes(b"before")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, hard))  # as if no more room were left
    try:
        with pytest.raises(OSError, match=r"File too large: '.*fox\.png'"):
            write_whole(path, bytes(2_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [each.name for each in tmp_path.iterdir()] == ["fox.png"]
    assert path.read_bytes() == b"before"
    write_whole(path, bytes(2_000))
    assert path.read_bytes() == bytes(2_000)


@pytest.mark.parametrize("name", ["sheet", "sheet.xyz", "sheet.pyz", ".png", "sheet.hdf5", ""])
def test_a_sheet_that_could_not_be_saved_is_refused_before_anything_is_drawn(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(Stop, match="--sheet") as stop:
        check_sheet(tmp_path / name)
    assert stop.value.code is ExitCode.USAGE


@pytest.mark.parametrize("name", ["sheet.png", "a/b/sheet.JPG", "sheet.webp", "名.png"])
def test_a_sheet_may_be_of_any_kind_that_can_be_written(tmp_path: Path, name: str) -> None:
    check_sheet(tmp_path / name)
    assert not (tmp_path / name).exists()


def test_pictures_of_two_sizes_are_refused_a_sheet_before_anything_is_drawn() -> None:
    check_sizes([(1, 2), (1, 2)])
    with pytest.raises(Stop, match="differ in size"):
        check_sizes([(1, 2), (2, 1)])


def test_a_folder_that_is_a_file_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(Stop, match="is a file, not a folder"):
        make_folder(tmp_path / "x", "--out")


async def test_what_a_killed_terminal_left_is_cancelled_and_what_a_living_one_draws_is_not(
    tmp_path: Path,
) -> None:
    store = await Store.open(tmp_path)
    try:
        request = resolve(parse("a fox"), checkpoint=PATTERN, seed=1, num_images=1).request
        new = NewJob(member_id=NOBODY, place=TERMINAL, typed="a fox", request=request, cost_s=1.0)
        job = await store.jobs.add(new, now=dt.datetime.now(dt.UTC))
        with seat(tmp_path), seat(tmp_path):
            await clear_abandoned(store)
            assert (await store.jobs.get(job.id)).state is JobState.QUEUED
        await clear_abandoned(store)
        assert (await store.jobs.get(job.id)).state is JobState.CANCELLED
        await clear_abandoned(store)
    finally:
        await store.close()


def test_the_documented_permissions_are_those_of_the_code() -> None:
    text = (ROOT / "docs/permissions.md").read_text(encoding="utf-8")
    for name, reason in REASONS.items():
        assert f"| {name.replace('_', ' ').title()} | {reason} |" in text
    assert f"`{REQUIRED.value}`" in text
    assert f"permissions={REQUIRED.value}" in text


def test_the_invite_link_asks_for_exactly_what_is_needed() -> None:
    asked = parse_qs(urlsplit(invite_link(1234)).query)
    assert asked["client_id"] == ["1234"]
    assert asked["permissions"] == [str(REQUIRED.value)]
    assert set(asked["scope"][0].split()) == {"bot", "applications.commands"}


def test_missing_permissions_are_named() -> None:
    assert missing(REQUIRED) == []
    assert missing(discord.Permissions(administrator=True)) == []
    granted = discord.Permissions(REQUIRED.value)
    granted.attach_files = False
    assert missing(granted) == ["attach_files"]
