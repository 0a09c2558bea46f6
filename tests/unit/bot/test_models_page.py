"""docs/models.md: what is there to be copied works."""

import re
from pathlib import Path

import pytest

from bot.models import checkpoints
from bot.settings import load_settings

PAGE = Path(__file__).parents[3] / "docs" / "models.md"
BLOCKS = re.findall(r"```toml\n(.*?)```", PAGE.read_text("utf-8"), flags=re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.splitlines()[1])
def test_every_block_can_be_copied_into_the_settings(block: str, tmp_path: Path) -> None:
    file = tmp_path / "atelier.toml"
    file.write_text(block, "utf-8")
    (model,) = load_settings(file).models
    checkpoint = checkpoints(load_settings(file))[model.name]
    assert checkpoint.revision == model.revision is not None


def test_every_link_has_a_target() -> None:
    text = PAGE.read_text("utf-8")
    targets = set(re.findall(r"^\[([\w-]+)\]: https://", text, flags=re.MULTILINE))
    used = set(re.findall(r"\]\[([\w-]+)\]", text))
    assert used == targets
