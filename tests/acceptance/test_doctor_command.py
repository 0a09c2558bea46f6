"""`atelier doctor` looks at everything, changes nothing, and names a remedy."""

import os
import re
import sqlite3
from pathlib import Path

import pytest

from bot.settings import Settings
from bot.terminal.checks import Verdict
from bot.terminal.doctor import _data_dir
from tests.acceptance.conftest import Terminal


def test_the_doctor_only_looks_at_an_old_record(terminal: Terminal) -> None:
    terminal.record.mkdir(mode=0o700, parents=True)
    path = terminal.record / "atelier.db"
    with sqlite3.connect(path) as connection:
        connection.executescript("CREATE TABLE jobs (id); PRAGMA user_version = 1")
    connection.close()
    before = path.read_bytes()
    terminal.environment["COLUMNS"] = "400"  # a line a row
    said = terminal.atelier("doctor", "--quick", code=1).stdout  # 1: no bot is running
    assert re.search(r"database\s+│ ok .*schema version 1; the next start makes it", said)
    assert path.read_bytes() == before
    assert [each.name for each in terminal.record.iterdir()] == ["atelier.db"]


def test_the_doctor_finds_everything_well(terminal: Terminal) -> None:
    terminal.environment["DISCORD_TOKEN"] = "a-secret-that-nobody-sees"  # noqa: S105
    done = terminal.atelier("doctor")
    for check in ("settings", "data folder", "decoder", "text encoder", "device", "worker"):
        assert re.search(rf"{check}\s+│ ok", done.stdout), check
    assert "a-secret" not in done.stdout + done.stderr


def test_the_doctor_names_what_is_wrong_and_the_remedy_and_changes_nothing(
    terminal: Terminal,
) -> None:
    broken, pickled = terminal.folder / "broken", terminal.folder / "pickled"
    broken.mkdir()
    (broken / "weights.safetensors").write_bytes(b"other")
    (pickled / "unet").mkdir(parents=True)
    (pickled / "unet/config.json").write_text("{}")
    (pickled / "unet/diffusion_pytorch_model.bin").touch()
    (pickled / "model_index.json").write_text('{"unet": ["diffusers", "UNet2DConditionModel"]}')
    (terminal.folder / "one.safetensors").touch()
    (terminal.folder / "atelier.toml").write_text(
        f'[[models]]\nname = "big"\nhub_id = "nobody/nothing"\nrevision = "{"0" * 40}"\n'
        '[[models]]\nname = "pickled"\nfolder = "pickled"\n'
        '[[models]]\nname = "one"\nfolder = "one.safetensors"\n'
        '[[models]]\nname = "broken"\nfolder = "broken"\n'
        f'[models.sha256]\n"weights.safetensors" = "{"0" * 64}"\n'
    )
    terminal.environment["COLUMNS"] = "400"  # a line a row
    done = terminal.atelier("doctor", "--model", "pickled", "--online", code=1)
    said = " ".join(done.stdout.replace("│", " ").split())
    assert re.search(r"model big\s+- .*not fetched yet", said)
    assert "atelier models fetch big" in said
    assert re.search(r"model pickled\s+FAILED .*pickle", said)
    assert re.search(r"model one\s+FAILED .*one file", said)
    assert re.search(r"model broken\s+FAILED .*differs.* fetch its files again", said)
    assert re.search(r"worker\s+ok\s+pattern", said)
    assert re.search(r"worker\s+FAILED\s+pickled: not tried", said)
    assert re.search(r"online\s+FAILED\s+not tried", said)
    assert re.search(r"database\s+-\s+none yet", said)
    assert not terminal.record.exists()  # it only looked
    refused = terminal.atelier("imagine", "a fox --model big", code=3).stderr
    assert refused.endswith("not fetched yet: atelier models fetch big\n")
    assert len(refused.splitlines()) == 1


@pytest.mark.parametrize(("mode", "verdict"), [(0o700, "ok"), (0o755, "FAILED"), (0o710, "FAILED")])
def test_a_data_folder_that_others_can_read_is_named(
    tmp_path: Path, mode: int, verdict: str
) -> None:
    tmp_path.chmod(mode)
    check = _data_dir(Settings(data_dir=tmp_path), quick=False)
    assert check.verdict.value == verdict
    assert (check.remedy == f"chmod 700 {tmp_path}") == (verdict == "FAILED")
    assert _data_dir(Settings(data_dir=tmp_path), quick=True).verdict is Verdict.OK


def test_a_health_check_wants_a_fresh_heartbeat(terminal: Terminal) -> None:
    assert "never seen" in terminal.atelier("doctor", "--quick", code=1).stdout
    heartbeat = terminal.record / "heartbeat"
    heartbeat.parent.mkdir(mode=0o700, parents=True)
    heartbeat.touch()
    terminal.atelier("doctor", "--quick")
    os.utime(heartbeat, (1, 1))
    assert "restart the bot" in terminal.atelier("doctor", "--quick", code=1).stdout
