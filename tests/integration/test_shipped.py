"""Every checkpoint that is shipped still draws as well as when it was shipped."""

import json
from pathlib import Path

import pytest

from generation.learning.assessment import quality
from generation.learning.assessment.samplers import VAE
from generation.learning.training import scorer
from generation.work import manifest
from generation.work.checkpoints import EMBEDDED

# diffusers 0.42.1 hands tensors to numpy 2 the old way when it sets timesteps.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

WEIGHTS = EMBEDDED.parent
SCORER = WEIGHTS / "atelier-scorer"


def kind_of(folder: Path) -> str:
    content = json.loads((folder / manifest.MANIFEST).read_text(encoding="utf-8"))
    return str(content.get("kind", "diffusion"))


SHIPPED = [
    path.parent
    for path in sorted(WEIGHTS.glob(f"*/{manifest.MANIFEST}"))
    if kind_of(path.parent) not in {scorer.KIND, VAE}
]


def test_the_embedded_checkpoint_is_among_them() -> None:
    assert EMBEDDED in SHIPPED


def test_weights_are_small_enough_to_clone() -> None:
    files = [path for path in WEIGHTS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 67e6
    assert not [path for path in files if path.suffix in {".bin", ".ckpt", ".pt", ".pth"}]


def test_every_checkpoint_has_its_card() -> None:
    for folder in (path for path in WEIGHTS.iterdir() if path.is_dir()):
        assert (folder / "README.md").read_text(encoding="utf-8").startswith("---\nlicense: "), (
            folder
        )


@pytest.mark.parametrize("checkpoint", SHIPPED, ids=lambda path: path.name)
def test_shipped_checkpoint_keeps_to_its_record(checkpoint: Path) -> None:
    recorded, found = quality.read(checkpoint), quality.measure(checkpoint, SCORER)
    assert quality.departures(recorded.figures, found) == {}
