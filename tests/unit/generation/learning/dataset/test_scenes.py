"""Scenes show what their caption says, and are made of training pictures alone."""

import dataclasses

import numpy as np
import pytest
from PIL import Image, ImageDraw

from generation.learning.dataset import scenes
from generation.learning.dataset.scenes import COLOURS, Arrangement, Pixels, Scene, Scenes
from generation.learning.dataset.stored import Row, Split

SIDE_PX = 64
THINGS = ("red apple", "cat", "crown", "bucket", "man", "arrow")
LOOKS = ("flat", "noto")
SETTINGS = Scenes(
    beside=4, holding=4, wearing=4, coloured=4, worn=("crown",), plain=("arrow",)
)  # fmt: skip


def row(concept: str, look: str, **changes: object) -> Row:
    made = Row(
        key=f"{look}/{concept}",
        concept=concept,
        look=look,
        group=scenes.PEOPLE if concept == "man" else "objects",
        phrasings=(concept,),
        split=Split.TRAIN,
        is_unseen_by_scorer=False,
        may_mirror=concept != "bucket",
        licence="MIT" if look == "flat" else "Apache-2.0",
    )
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def drawing(colour: str | tuple[int, int, int], box: tuple[int, int, int, int]) -> Pixels:
    picture = Image.new("RGBA", (SIDE_PX, SIDE_PX))
    ImageDraw.Draw(picture).ellipse(box, fill=colour, outline="black", width=2)
    return np.asarray(picture)


ROWS = [row(thing, look) for look in LOOKS for thing in THINGS]
GREEN = drawing((20, 160, 40), (4, 10, 60, 56))
RED = drawing((200, 30, 30), (20, 4, 44, 60))


def planned(rows: list[Row] = ROWS, settings: Scenes = SETTINGS) -> list[Scene]:
    return scenes.plan(rows, settings, {"cat": ("kitten",)}, lambda _: GREEN)


def seen(picture: Pixels, sample: Pixels) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Say where a picture shows the fill of a drawing."""
    fill = sample[sample[..., 3] > 0][len(sample[sample[..., 3] > 0]) // 2].astype(int)
    close = np.abs(picture.astype(int) - fill).max(2) < 12
    return np.asarray(close, np.bool_)


def test_the_default_makes_nothing() -> None:
    assert planned(settings=Scenes()) == []


def test_nothing_held_back_and_no_sign_takes_part() -> None:
    rows = [
        dataclasses.replace(each, split=Split.UNSEEN_PAIR)
        if each.key == "flat/cat"
        else dataclasses.replace(each, is_unseen_by_scorer=True)
        if each.key == "noto/cat"
        else each
        for each in ROWS
    ]
    made = planned(rows)
    assert made
    for scene in made:
        for part in scene.parts:
            assert rows[part].concept not in ("cat", "arrow")
        assert {rows[part].look for part in scene.parts} == {scene.row.look}
        assert scene.row.split is Split.SCENE


def test_every_kind_is_made_and_only_hats_are_worn() -> None:
    made = planned()
    assert {scene.arrangement for scene in made} == set(Arrangement)
    worn = [scene for scene in made if scene.arrangement is Arrangement.WORN]
    assert {ROWS[scene.parts[1]].concept for scene in worn} == {"crown"}
    assert len({scene.row.key for scene in made}) == len(made)


def test_captions_name_the_parts_in_order() -> None:
    for scene in planned():
        concepts = [ROWS[part].concept for part in scene.parts]
        text = scene.row.phrasings[0].replace("kitten", "cat")
        if scene.arrangement is Arrangement.COLOURED:
            assert text == f"{scene.colour} {concepts[0]}"
        else:
            assert text.startswith(concepts[0])
            assert text.endswith(concepts[1])


def test_no_colour_is_put_before_people_or_before_another_colour() -> None:
    for scene in planned():
        if scene.arrangement is Arrangement.COLOURED:
            assert ROWS[scene.parts[0]].concept not in ("man", "red apple")


def test_another_look_changes_no_scene_of_this_one() -> None:
    alone = planned([each for each in ROWS if each.look == "flat"])
    assert alone == [scene for scene in planned() if scene.row.look == "flat"]


def test_a_scene_may_be_mirrored_only_if_all_its_parts_may() -> None:
    for scene in planned():
        assert scene.row.may_mirror == all(ROWS[part].may_mirror for part in scene.parts)


def scene_of(arrangement: Arrangement, colour: str = "") -> Scene:
    return Scene(row("cat", "flat"), arrangement, (0, 1), colour)


def test_the_first_thing_stands_left_of_the_second() -> None:
    picture = scenes.compose(scene_of(Arrangement.BESIDE), [GREEN, RED])
    first, second = (np.argwhere(seen(picture, each))[:, 1] for each in (GREEN, RED))
    assert first.max() < second.min()


def test_what_is_held_lies_in_front_and_is_smaller() -> None:
    picture = scenes.compose(scene_of(Arrangement.WITH), [GREEN, GREEN[..., [1, 0, 2, 3]]])
    held, holder = seen(picture, GREEN[..., [1, 0, 2, 3]]), seen(picture, GREEN)
    assert 0 < held.sum() < holder.sum()


def test_a_hat_stands_above_its_wearer() -> None:
    picture = scenes.compose(scene_of(Arrangement.WORN), [GREEN, RED])
    wearer, hat = (np.argwhere(seen(picture, each))[:, 0] for each in (GREEN, RED))
    assert hat.mean() < wearer.min() + 5


@pytest.mark.parametrize("arrangement", [Arrangement.BESIDE, Arrangement.WITH, Arrangement.WORN])
def test_a_scene_keeps_the_size_and_shows_no_fringe(arrangement: Arrangement) -> None:
    picture = scenes.compose(scene_of(arrangement), [GREEN, RED])
    assert picture.shape == GREEN.shape
    # Straight alpha would let the black of unseen pixels bleed into half seen ones' colours.
    white = np.full_like(GREEN, 255)
    alone = scenes.compose(scene_of(arrangement), [white, white])
    assert alone[alone[..., 3] > 0][:, :3].min() >= 250


@pytest.mark.parametrize("colour", COLOURS)
def test_a_coloured_thing_has_that_colour_and_keeps_its_shape(colour: str) -> None:
    picture = scenes.recoloured(GREEN, colour)
    assert np.array_equal(picture[..., 3], GREEN[..., 3])
    middle = Image.fromarray(picture[30:34, 30:34, :3], "RGB").convert("HSV")
    hue = np.asarray(middle, np.float64)[..., 0].mean() * 360 / 255
    assert abs((hue - COLOURS[colour] + 180) % 360 - 180) < 25


def test_a_grey_thing_is_tinted_and_a_thing_of_that_colour_stays() -> None:
    grey = drawing((200, 200, 200), (4, 10, 60, 56))
    red, green, blue, _ = scenes.recoloured(grey, "blue")[32, 32].astype(int)
    assert blue > green > red
    assert np.array_equal(scenes.recoloured(GREEN, "green"), GREEN)
