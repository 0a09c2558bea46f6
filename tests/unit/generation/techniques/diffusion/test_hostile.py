"""No code from a checkpoint is run, however it is offered; every such folder is refused in words."""

import dataclasses
import json
import pickle
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from packaging.requirements import Requirement

from generation.techniques.device import DeviceChoice
from generation.techniques.diffusion import loading
from generation.work.errors import CheckpointCorrupt

ROOT = Path(__file__).parents[5]
CHOICE = DeviceChoice("cpu", "float32", 1, "test")
Attack = Callable[[Path, str], None]


class Trap:
    """Unpickled, it makes a file."""

    def __init__(self, ran: str) -> None:
        self.ran = ran

    def __reduce__(self) -> Any:
        return Path.touch, (Path(self.ran),)


def change(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def code(ran: str) -> str:
    return (
        f"import pathlib; pathlib.Path({ran!r}).touch()\n"
        "from diffusers import StableDiffusionPipeline as Base, UNet2DConditionModel as Net\n"
        "class Evil(Base): pass\nclass EvilNet(Net): pass\n"
    )


def class_name_is_a_module(folder: Path, ran: str) -> None:
    (folder / "evil.py").write_text(code(ran))
    change(folder / "model_index.json", _class_name=["evil", "Evil"])


def pipeline_file(folder: Path, ran: str) -> None:
    (folder / "pipeline.py").write_text(code(ran))
    change(folder / "model_index.json", _class_name="Evil")


def component_is_a_module(folder: Path, ran: str) -> None:
    for place in (folder, folder / "unet"):
        (place / "evil.py").write_text(code(ran))
    change(folder / "model_index.json", unet=["evil", "EvilNet"])


def component_names_a_library(folder: Path, ran: str) -> None:
    change(folder / "model_index.json", unet=["subprocess", "Popen"])


def config_maps_to_a_module(folder: Path, ran: str) -> None:
    (folder / "text_encoder" / "evil.py").write_text(code(ran))
    mapped = {"AutoModel": "evil.EvilNet", "AutoConfig": "evil.Evil"}
    change(folder / "text_encoder" / "config.json", auto_map=mapped, model_type="evil")
    change(folder / "model_index.json", text_encoder=["transformers", "AutoModel"])


def unknown_class(folder: Path, ran: str) -> None:
    change(folder / "model_index.json", _class_name="NoSuchPipeline")


def only_pickles(folder: Path, ran: str) -> None:
    for path in folder.rglob("*.safetensors"):
        name = "pytorch_model" if "text_encoder" in path.parts else path.stem
        torch.save(Trap(ran), path.with_name(f"{name}.bin"))
        path.unlink()


def pickles_by_another_name(folder: Path, ran: str) -> None:
    for path in folder.rglob("*.safetensors"):
        path.write_bytes(pickle.dumps(Trap(ran)))


def tokenizer_is_a_pickle(folder: Path, ran: str) -> None:
    for path in (folder / "tokenizer").iterdir():
        path.write_bytes(pickle.dumps(Trap(ran)))


def nested_index(folder: Path, ran: str) -> None:
    (folder / "model_index.json").write_text('{"x": ' * 100_000)


ATTACKS: tuple[Attack, ...] = (
    class_name_is_a_module,
    pipeline_file,
    component_is_a_module,
    component_names_a_library,
    config_maps_to_a_module,
    unknown_class,
    only_pickles,
    pickles_by_another_name,
    tokenizer_is_a_pickle,
    nested_index,
)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_no_code_from_a_checkpoint_is_run(saved: Any, tmp_path: Path, attack: Attack) -> None:
    source, ran = saved("sd15"), tmp_path / "ran"
    folder = tmp_path / "copy"
    shutil.copytree(source.source, folder)
    attack(folder, str(ran))
    with pytest.raises(CheckpointCorrupt) as refused:
        loading.open_pipeline(dataclasses.replace(source, source=str(folder)), CHOICE)
    assert not ran.exists()
    assert str(refused.value)


def test_the_trap_of_these_tests_would_snap(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Trap(str(tmp_path / "ran"))))  # noqa: S301 - our own
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["diffusers", "safetensors", "torch", "transformers"])
def test_what_reads_a_checkpoint_is_no_older_than_what_this_was_tested_with(name: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {each.name: each for each in map(Requirement, project["dependencies"])}
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    (pinned,) = (pin.partition("==")[2] for pin in pins if pin.startswith(f"{name}=="))
    (bound,) = wanted[name].specifier
    assert bound.operator == ">="
    assert pinned in wanted[name].specifier
    assert pinned.split(".")[:2] == bound.version.split(".")[:2]
