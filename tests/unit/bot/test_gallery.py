import dataclasses
import json

import pytest

from bot.messages import CONSENT
from bot.terminal.gallery import GalleryExport, caption_of, export_gallery
from generation.learning.dataset.captioned import NotPermitted, read_folder
from generation.work.jobs import JobState
from generation.work.requests.imagine import WeightedPrompt
from storage.consent import Scope
from storage.jobs import NewImage
from storage.store import Store
from tests.unit.storage.conftest import ALICE, BOB, NOW, Scene, request_for


@pytest.fixture
async def scene(tmp_path):
    store = await Store.open(tmp_path / "store")
    yield Scene(store)
    await store.close()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "gallery"


async def answer(scene, member_id, *, is_given):
    await scene.store.consents.append(
        member_id,
        {Scope.TRAINING: is_given},
        text_version=CONSENT.version,
        text_sha256=CONSENT.sha256,
        interaction_id=1,
        now=NOW,
    )


async def draw(scene, member_id, png, prompt):
    """Draw and post one picture, as the bot does, and return its record."""
    job = await scene.running(member_id=member_id, request=request_for(prompt))
    sha256 = await scene.store.files.write(png, owner=member_id, now=NOW)
    image = NewImage(index=0, seed=7, sha256=sha256, width=64, height=64)
    job, (recorded,) = await scene.store.jobs.record_rendered(
        job.id, images=[image], fingerprint="{}", elapsed_s=1.0, now=NOW
    )
    await scene.store.jobs.move(job.id, expected=job.state, to=JobState.POSTED, now=NOW)
    return recorded


def pictures_in(folder):
    return {
        path.stem: (path.read_bytes(), path.with_suffix(".txt").read_text())
        for path in folder.glob("*.png")
    }


async def test_a_withdrawn_consent_takes_the_pictures_out_again(scene, folder):
    await answer(scene, ALICE, is_given=True)
    await answer(scene, BOB, is_given=True)
    alices = await draw(scene, ALICE, b"alice's picture", "a fox")
    bobs = await draw(scene, BOB, b"bob's picture", "an owl")
    assert await export_gallery(scene.store, folder) == GalleryExport(2, 0, 0)
    assert pictures_in(folder) == {
        f"image-{alices.id}": (b"alice's picture", "a fox\n"),
        f"image-{bobs.id}": (b"bob's picture", "an owl\n"),
    }
    assert [each.caption for each in read_folder(folder, permission="")] == ["a fox", "an owl"]

    await answer(scene, ALICE, is_given=False)
    assert await export_gallery(scene.store, folder) == GalleryExport(1, 1, 0)
    assert sorted(path.name for path in folder.iterdir()) == [
        "consent.json",
        f"image-{bobs.id}.png",
        f"image-{bobs.id}.txt",
    ]
    assert "alice" not in (folder / "consent.json").read_text()
    assert [each.caption for each in read_folder(folder, permission="")] == ["an owl"]


async def test_without_any_consent_the_folder_stays_empty(scene, folder):
    await draw(scene, ALICE, b"a picture", "a fox")
    assert await export_gallery(scene.store, folder) == GalleryExport(0, 0, 0)
    assert [path.name for path in folder.iterdir()] == ["consent.json"]
    with pytest.raises(NotPermitted, match="no captioned pictures"):
        read_folder(folder, permission="")


async def test_exporting_again_rewrites_nothing_and_leaves_other_files_alone(scene, folder):
    await answer(scene, ALICE, is_given=True)
    image = await draw(scene, ALICE, b"a picture", "a fox")
    await export_gallery(scene.store, folder)
    (folder / "notes.txt").write_text("mine")
    (folder / f".image-{image.id}.png.partial").write_bytes(b"left by a kill")
    before = (folder / f"image-{image.id}.png").stat()
    await export_gallery(scene.store, folder)
    assert (folder / f"image-{image.id}.png").stat().st_ino == before.st_ino
    assert (folder / "notes.txt").read_text() == "mine"
    assert not list(folder.glob(".*"))


async def test_a_lost_file_is_left_out_and_the_others_are_exported(scene, folder):
    await answer(scene, ALICE, is_given=True)
    lost = await draw(scene, ALICE, b"lost", "a fox")
    kept = await draw(scene, ALICE, b"kept", "an owl")
    await export_gallery(scene.store, folder)
    scene.store.files.path(lost.sha256).unlink()
    export = await export_gallery(scene.store, folder)
    assert export == GalleryExport(1, 0, 1)
    assert "1 left out" in export.sentence()
    assert list(pictures_in(folder)) == [f"image-{kept.id}"]


async def test_no_member_is_named_in_the_export(scene, folder):
    member_id = 918273645546372819
    await answer(scene, member_id, is_given=True)
    await draw(scene, member_id, b"a picture", "a fox")
    await export_gallery(scene.store, folder)
    text = (folder / "consent.json").read_text()
    assert str(member_id) not in text
    (consent,) = json.loads(text).values()
    (record,) = await scene.store.consents.history(member_id)
    assert consent["consent_id"] == record.id


async def test_only_what_was_exported_is_taken_without_asking(scene, folder):
    await answer(scene, ALICE, is_given=True)
    image = await draw(scene, ALICE, b"a picture", "a fox")
    await export_gallery(scene.store, folder)
    (folder / f"image-{image.id}.png").write_bytes(b"another picture")
    with pytest.raises(NotPermitted, match=r"maker allowed.*permission"):
        read_folder(folder, permission="")
    assert len(read_folder(folder, permission="I drew it")) == 1


@pytest.mark.parametrize(
    ("parts", "caption"),
    [
        ([("a  fox\nin snow", 1.0)], "a fox in snow"),
        ([("a fox", 2.0), ("people", -0.5), ("snow", 1.0)], "a fox, snow"),
    ],
)
def test_a_caption_is_one_line_and_says_only_what_is_shown(parts, caption):
    prompts = tuple(WeightedPrompt(*part) for part in parts)
    assert caption_of(dataclasses.replace(request_for(), prompts=prompts)) == caption
