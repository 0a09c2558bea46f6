"""What the terminal computes and what the documentation promises about permissions."""

import io
import math
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
from bot.terminal.log import _printable
from bot.terminal.reproduce import distance

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


def test_pictures_of_two_sizes_have_no_distance() -> None:
    assert distance(png(np.zeros((2, 2, 3), np.uint8)), png(np.zeros((2, 3, 3), np.uint8))) is None


@given(st.text())
def test_nothing_that_people_typed_moves_the_cursor(text: str) -> None:
    assert _printable(text).isprintable()


def test_prompts_cannot_speak_rich_markup() -> None:
    console = Console(file=io.StringIO(), width=80)
    console.print(_printable("[bold red]fox[/] \x1b[31m"))
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == "[bold red]fox[/]  [31m\n"


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
