"""For every test: a user's folder of its own, and hypothesis measures laws, not a busy machine."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("atelier", deadline=None, print_blob=True)
settings.load_profile("atelier")


@pytest.fixture(scope="session", autouse=True)
def nobodys_data_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Stand between the tests and the record of whoever runs them."""
    folder = tmp_path_factory.mktemp("user")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(folder))
        yield folder
