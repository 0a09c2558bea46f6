"""Every checkpoint that is shipped still draws as well as when it was shipped."""

import json
from pathlib import Path

import pytest

from generation.assessment import quality
from generation.assessment.samplers import VAE
from generation.checkpoints import EMBEDDED
from generation.training import manifest, scorer

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


@pytest.mark.parametrize("checkpoint", SHIPPED, ids=lambda path: path.name)
def test_shipped_checkpoint_keeps_to_its_record(checkpoint: Path) -> None:
    recorded, found = quality.read(checkpoint), quality.measure(checkpoint, SCORER)
    assert quality.departures(recorded.figures, found) == {}
