"""Settings are read once, refused when misspelt, documented, and never give the token away."""

import io
import json
import logging
import sys
import tomllib
from pathlib import Path
from typing import Any, get_args

import platformdirs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import PydanticUndefined

from bot.logs import BLACKED_OUT, set_up_logs
from bot.models import _described, checkpoints, taking_uploads
from bot.settings import (
    ModelSettings,
    Settings,
    SettingsRefused,
    config_path,
    default_data_dir,
    load_settings,
)
from bot.terminal.checkpoint_checks import _uploads
from generation.work.checkpoints import EMBEDDED, PATTERN
from generation.work.errors import UnknownCheckpoint

ROOT = Path(__file__).parents[3]
TOKEN = "MTIzNDU2Nzg5MDEyMzQ1Njc4.GabcdE.abcdefghijklmnopqrstuvwxyz0123456789AB"  # noqa: S105
REVISION = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in an empty folder, with none of the machine's own settings."""
    import os

    for name in list(os.environ):
        if name.startswith("ATELIER_") or name == "DISCORD_TOKEN":
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def write(text: str) -> None:
    Path("atelier.toml").write_text(text, encoding="utf-8")


def test_without_a_file_or_variables_everything_has_a_default() -> None:
    assert config_path() is None
    assert load_settings().data_dir == platformdirs.user_data_path("atelier", appauthor=False)
    assert load_settings().discord_token is None


def test_the_data_folder_is_the_same_wherever_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = load_settings().data_dir
    Path("data").mkdir()  # somebody else's: there is no record in it
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    there = load_settings()
    assert there.data_dir == here
    assert here.is_absolute()
    assert there.former_data_dir is None


def test_a_record_that_is_already_in_the_working_directory_is_found_and_named() -> None:
    Path("data").mkdir()
    Path("data/atelier.db").touch()
    settings = load_settings()
    assert settings.data_dir == settings.former_data_dir == Path("data").absolute()
    write('data_dir = "data"')
    assert load_settings().former_data_dir is None  # somebody decided


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write('data_dir = "~/pictures"')
    assert load_settings().data_dir == tmp_path / "pictures"


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    write('data_dir = "/from/file"\nthreads = 3\n')
    monkeypatch.setenv("ATELIER_DATA_DIR", "/from/environment")
    settings = load_settings()
    assert (settings.data_dir, settings.threads) == (Path("/from/environment"), 3)


@pytest.mark.parametrize("name", ["DISCORD_TOKEN", "ATELIER_DISCORD_TOKEN"])
def test_the_token_comes_from_either_variable(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, TOKEN)
    token = load_settings().discord_token
    assert token is not None
    assert token.get_secret_value() == TOKEN


def test_the_file_may_be_named_by_argument_or_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("other.toml").write_text("threads = 5", encoding="utf-8")
    assert load_settings(Path("other.toml")).threads == 5
    monkeypatch.setenv("ATELIER_CONFIG", "other.toml")
    assert load_settings().threads == 5
    monkeypatch.setenv("ATELIER_CONFIG", "absent.toml")
    with pytest.raises(SettingsRefused, match=r"absent\.toml does not exist"):
        load_settings()


def test_a_misspelt_key_is_refused_and_the_nearest_one_named() -> None:
    write('data_dri = "x"')
    with pytest.raises(
        SettingsRefused, match="unknown setting 'data_dri'; did you mean 'data_dir'"
    ):
        load_settings()
    write('[[models]]\nname = "x"\nfodler = "y"')
    with pytest.raises(SettingsRefused, match=r"model 'x': unknown .*fodler.*folder"):
        load_settings()


def test_a_misspelt_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATELIER_THREAD", "1")
    with pytest.raises(SettingsRefused, match="ATELIER_THREAD; did you mean ATELIER_THREADS"):
        load_settings()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("threads = -1", "threads: "),
        ('device = "gpu"', "device: "),
        ("progress_interval_s = nan", "progress_interval_s: "),
        ('log_level = "LOUD"', "log_level: "),
        ("threads = true", "threads: must be a number"),
        ("progress_interval_s = true", "progress_interval_s: must be a number"),
        ("threads = 1e400", "threads: "),
        ("threads = " + "9" * 4_000, "threads: "),
        ("progress_interval_s = " + "9" * 4_000, "atelier.toml"),
        ("threads = " + "9" * 5_000, "a number in it is too large"),
        ("threads = 2\ndevice =\n", "line 2"),
        ("threads = " + "[" * 2_000, "nested too deeply"),
        ('data_dir = "a\\u0000b"', "data_dir: must be a path"),
        ('[[models]]\nname = "x"\nfolder = "a\\u0000b"', "model 'x': folder: must be a path"),
        ('[[models]]\nname = "X y"\nfolder = "a"', "name: must be 1 to 32 of a-z"),
        ('[[models]]\nfolder = "a"', "[[models]] number 1: name: Field required"),
        ('[[models]]\nname = "x"', "model 'x': give either folder or hub_id"),
        ('[[models]]\nname = "x"\nhub_id = "a/b"', "model 'x': hub_id needs revision"),
        (
            '[[models]]\nname = "x"\nhub_id = "a/b"\nrevision = "main"',
            "model 'x': revision: must be a full commit of hub_id, 40 hex digits",
        ),
        (
            '[[models]]\nname = "x"\nfolder = "y"\nwidth = 1000',
            "model 'x': width must be a multiple of size_multiple (16)",
        ),
        (
            '[[models]]\nname = "x"\nfolder = "y"\nheight = 1024\nsize_multiple = 256\nwidth = 1000',
            "model 'x': width must be a multiple of size_multiple (256)",
        ),
        (
            '[[models]]\nname = "x"\nfolder = "y"\nstyles = {"@a" = "{prompt}"}',
            "one word of letters",
        ),
        ('[[models]]\nname = "x"\nfolder = "y"\nstyles = {a = "b"}', "needs {prompt}"),
        (
            '[[models]]\nname = "x"\nfolder = "y"\nstyles = {"line art" = "{prompt}"}',
            "style 'line art' must be one word of letters",
        ),
        (
            '[[models]]\nname = "x"\nfolder = "y"\n[[models]]\nname = "x"\nfolder = "z"',
            "two models are called 'x'",
        ),
    ],
)
def test_a_wrong_value_is_refused_in_one_sentence(text: str, said: str) -> None:
    write(text)
    with pytest.raises(SettingsRefused) as refused:
        load_settings()
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_byte_order_mark_is_no_part_of_the_settings() -> None:
    Path("atelier.toml").write_bytes("\ufeffthreads = 3".encode())
    assert load_settings().threads == 3


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ATELIER_THREADS", "9" * 5_000),
        ("ATELIER_PROGRESS_INTERVAL_S", "1e999"),
        ("ATELIER_MODELS", "[" * 100_000),
        ("ATELIER_MODELS", '[{"width": ' + "9" * 5_000 + "}]"),
        ("ATELIER_MODELS", '[{"name": "x", "folder": "y", "width": 1000}]'),
        ("ATELIER_DATA_DIR", "~nobody-of-that-name/x"),
        ("ATELIER_UPLOAD_HOSTS", "example.com"),
    ],
)
def test_a_wrong_variable_is_refused_in_one_sentence(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsRefused, match="environment: ") as refused:
        load_settings()
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300


TOML = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(
    key=st.sampled_from(sorted(set(ModelSettings.model_fields) - {"name", "folder", "hub_id"})),
    value=TOML,
    side_px=st.integers(16, 4_096) | st.integers(2, 256).map(lambda count: 16 * count),
    size_multiple=st.integers(8, 256) | st.integers(1, 32).map(lambda count: 8 * count),
)
def test_any_table_is_refused_in_one_sentence_or_describes_a_checkpoint(
    key: str, value: Any, side_px: int, size_multiple: int
) -> None:
    table = {"name": "x", "folder": "y", "width": side_px, "size_multiple": size_multiple}
    try:
        model = ModelSettings(**{**table, key: value})
    except ValidationError:
        return
    assert _described(model).name == "x"


def test_a_refusal_never_shows_the_value() -> None:
    write(f'discord_token = ["{TOKEN}"]')
    with pytest.raises(SettingsRefused) as refused:
        load_settings()
    assert TOKEN not in str(refused.value)
    assert refused.value.__cause__ is None


def test_settings_cannot_be_changed_and_do_not_print_the_token() -> None:
    settings = Settings(discord_token=SecretStr(TOKEN))
    assert TOKEN not in f"{settings!r} {settings} {settings.model_dump()}"
    with pytest.raises(ValueError, match="frozen"):
        settings.threads = 2


def test_models_of_the_settings_stand_beside_the_built_in_ones() -> None:
    write(f'[[models]]\nname = "big"\nhub_id = "a/b"\nrevision = "{REVISION}"\nwidth = 512')
    known = checkpoints(load_settings().model_copy(update={"default_model": "pattern"}))
    assert next(iter(known)) == "pattern"
    assert known["pattern"] == PATTERN
    assert (known["big"].source, known["big"].revision) == ("a/b", REVISION)
    assert (known["big"].family, known["big"].width) == ("pipeline", 512)
    assert ("atelier-emoji" in known) == EMBEDDED.is_dir()


def test_only_our_own_checkpoints_take_uploads_unless_a_table_says_so() -> None:
    tables = [
        {"name": "closed", "hub_id": "a/b", "revision": REVISION},
        {"name": "open", "hub_id": "a/b", "revision": REVISION, "uploads": True},
    ]
    settings = Settings(models=tables)  # type: ignore[arg-type]
    known = checkpoints(settings)
    assert set(known) - taking_uploads(settings, known) == {"closed"}
    said = _uploads(settings, known)
    assert "closed may not" in said.found
    assert "uploads = true" in said.remedy


def test_an_unknown_default_model_is_refused() -> None:
    with pytest.raises(UnknownCheckpoint, match="'nope' is none of"):
        checkpoints(Settings(default_model="nope"))


def rows_of(kind: type[BaseModel]) -> list[str]:
    """Return the rows that `docs/settings.md` must hold, made from the code."""
    rows = []
    for name, field in kind.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if field.default_factory is default_data_dir:
            shown = "the user's (see below)"
        elif default is PydanticUndefined:
            shown = "required"
        else:
            empty: tuple[Any, ...] = (None, "", (), {})
            shown = "none" if default in empty else f"`{_as_toml(default)}`"
        rows.append(f"| `{name}` | {shown} | {field.description}{_choices(field.annotation)} |")
    return rows


def _as_toml(value: Any) -> str:
    return json.dumps(str(value) if isinstance(value, Path) else value)


def _choices(annotation: Any) -> str:
    words = [word for word in get_args(annotation) if isinstance(word, str)]
    return f" ({', '.join(f'`{word}`' for word in words)})" if words else ""


@pytest.mark.parametrize("kind", [Settings, ModelSettings])
def test_every_setting_is_documented_as_it_is_in_the_code(kind: type[BaseModel]) -> None:
    documented = (ROOT / "docs/settings.md").read_text(encoding="utf-8").splitlines()
    missing = [row for row in rows_of(kind) if row not in documented]
    assert not missing, "docs/settings.md lacks:\n" + "\n".join(missing)


def test_no_documented_setting_is_unknown_to_the_code() -> None:
    documented = (ROOT / "docs/settings.md").read_text(encoding="utf-8").splitlines()
    rows = [line for line in documented if line.startswith("| `")]
    assert sorted(rows) == sorted([*rows_of(Settings), *rows_of(ModelSettings)])


def test_the_example_file_is_valid_and_holds_every_setting_at_its_default() -> None:
    text = (ROOT / "atelier.example.toml").read_text(encoding="utf-8")
    write(text)
    assert load_settings().model_dump() == Settings().model_dump()
    uncommented = "\n".join(line.removeprefix("# ") for line in text.splitlines() if "=" in line)
    shown = tomllib.loads(uncommented)
    assert shown["data_dir"] == "~/.local/share/atelier"  # platformdirs' on Linux
    shared = {
        key: value for key, value in shown.items() if key not in {"discord_token", "data_dir"}
    }
    assert Settings(**shared).model_dump() == Settings().model_dump()
    assert {*shown, "models"} == set(Settings.model_fields)


def logged(log_format: Any, *, secret: str = TOKEN) -> str:
    stream = io.StringIO()
    set_up_logs(log_format, secrets=[SecretStr(secret)], stream=stream)
    try:
        raise RuntimeError(f"login with {secret}")
    except RuntimeError:
        logging.getLogger("bot.test").exception(
            "drawing_failed", extra={"job_id": 7, "words": "a b", "token": secret}
        )
    finally:
        logging.getLogger().handlers.clear()
    return stream.getvalue()


def test_json_logs_are_one_object_a_line_with_the_job_number() -> None:
    (line,) = logged("json").splitlines()
    entry = json.loads(line)
    assert (entry["event"], entry["job_id"], entry["level"]) == ("drawing_failed", 7, "error")
    assert entry["logger"] == "bot.test"
    assert "RuntimeError" in entry["error"]


def test_text_logs_show_the_job_number_and_the_traceback() -> None:
    first, *rest = logged("text").splitlines()
    assert 'drawing_failed  job_id=7  words="a b"' in first
    assert any("RuntimeError" in line for line in rest)


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize("secret", [TOKEN, "not-shaped-like-a-token"])
def test_the_token_is_never_written(log_format: str, secret: str) -> None:
    text = logged(log_format, secret=secret)
    assert secret not in text
    assert text.count(BLACKED_OUT) >= 2  # the value and the traceback


def test_a_token_that_nobody_told_us_about_is_blacked_out_too() -> None:
    stream = io.StringIO()
    set_up_logs("text", stream=stream)
    address = f"https://discord.com/api/v10/webhooks/1234/{'a' * 90}/messages/@original"
    logging.getLogger("bot.test").warning("x", extra={"url": address, "bot": TOKEN})
    logging.getLogger().handlers.clear()
    assert "a" * 90 not in stream.getvalue()
    assert TOKEN not in stream.getvalue()
    assert "webhooks/1234/" in stream.getvalue()


def test_a_pictures_name_is_no_token() -> None:
    stream = io.StringIO()
    set_up_logs("text", stream=stream)
    path = f"/data/images/ab/{'ab' * 32}.png"
    logging.getLogger("bot.test").warning("x", extra={"path": path, "sha256": "ab" * 32})
    logging.getLogger().handlers.clear()
    assert path in stream.getvalue()


def test_reading_settings_does_not_load_torch() -> None:
    import subprocess

    code = "import sys, bot.settings, bot.logs, bot.models; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
