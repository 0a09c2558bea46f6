"""The operator's settings: `atelier.toml` and the environment, checked before anything starts.

The environment wins over the file. This module is the only reader of both, and nothing is read at
import: `load_settings` is called once and the frozen result handed on.
"""

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import platformdirs
from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from generation.work import border
from generation.work.checkpoints import is_name
from generation.work.errors import FileRefused
from storage.store import DATABASE_NAME

CONFIG_FILE = "atelier.toml"
CONFIG_VARIABLE = "ATELIER_CONFIG"
PREFIX = "ATELIER_"
FORMER_DATA_DIR = Path("data")  # the default until 0.1: in whatever folder one stood

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}", re.ASCII)
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}", re.ASCII)


def _not_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")
    return value


def _usable_path(path: Path) -> Path:
    if "\0" in str(path):
        raise ValueError("must be a path, so it cannot hold a NUL character")
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ValueError("~ stands for a home folder, but there is none") from error


def _matching(pattern: re.Pattern[str], wanted: str) -> AfterValidator:
    def check(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(f"must be {wanted}")
        return text

    return AfterValidator(check)


Ability = Literal["ar", "negative", "image", "weights", "quality", "stylize", "chaos", "tile"]
Whole = Annotated[int, BeforeValidator(_not_bool)]
Number = Annotated[float, BeforeValidator(_not_bool)]
FilePath = Annotated[Path, AfterValidator(_usable_path)]


def default_data_dir() -> Path:
    """Return the user's own folder for this program, the same one wherever a command is run.

    A record that an earlier version made in the folder one stands in is found and used: nobody's
    pictures are gone after an upgrade. `former_data_dir` says so.

    Source: the XDG Base Directory Specification on Linux, by platformdirs.
    """
    former = FORMER_DATA_DIR.absolute()
    if (former / DATABASE_NAME).is_file():
        return former
    return platformdirs.user_data_path("atelier", appauthor=False)


class SettingsRefused(Exception):
    """A setting is unknown or out of range; the message names it, its place and the remedy."""


class ModelSettings(BaseModel):
    """One checkpoint besides the embedded one: a `[[models]]` table of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[
        str, _matching(_NAME, "1 to 32 of a-z, 0-9, '.', '_' and '-', a letter or digit first")
    ] = Field(description="what people type")
    title: str = Field(default="", description="what people read; the name if empty")
    folder: FilePath | None = Field(default=None, description="a local diffusers folder")
    hub_id: Annotated[str, _matching(_HUB_ID, "owner/name, as it stands on the hub")] | None = (
        Field(default=None, description="`owner/name` on a model hub")
    )
    revision: (
        Annotated[
            str,
            _matching(
                _COMMIT,
                "a full commit of hub_id, 40 hex digits; a branch such as main can change overnight",
            ),
        ]
        | None
    ) = Field(
        default=None,
        description="the commit of `hub_id`, all 40 hex digits: a branch can change overnight",
    )
    width: Whole = Field(default=1024, ge=16, le=4096, multiple_of=8, description="pixels")
    height: Whole = Field(default=1024, ge=16, le=4096, multiple_of=8, description="pixels")
    size_multiple: Whole = Field(
        default=16, ge=8, le=256, multiple_of=8, description="sides are multiples of this"
    )
    num_inference_steps: Whole = Field(
        default=28, ge=1, le=150, description="steps at `--quality 1`"
    )
    guidance_scale: Number = Field(default=6.0, ge=1.0, le=30.0, description="at `--stylize 100`")
    styles: Mapping[str, str] = Field(
        default_factory=dict,
        description="style name, one word, to a template that contains `{prompt}`",
    )
    default_style: str | None = Field(default=None, description="drawn when none is asked for")
    honours: tuple[Ability, ...] = Field(
        default=(),
        description="what of a prompt it follows; empty for all that its class can, which is told "
        "from its files. What it does not follow is said in the reply",
    )
    sha256: Mapping[str, str] = Field(
        default_factory=dict, description="file in `folder` to its SHA-256, checked before loading"
    )
    uploads: bool = Field(
        default=False,
        description="whether people may start from pictures that they upload. Off, because nothing "
        "looks at what is on them yet: from 2 December 2026 the EU forbids image systems that "
        "foreseeably undress people without safeguards. Remixes of what I drew need no such yes",
    )
    scorer: FilePath | None = Field(
        default=None,
        description="folder that `atelier train scorer` exported; picks the best pictures where "
        "fewer are wanted than a server draws",
    )

    @model_validator(mode="after")
    def _one_pinned_source(self) -> Self:
        if (self.folder is None) == (self.hub_id is None):
            raise ValueError("give either folder or hub_id")
        if self.hub_id is not None and self.revision is None:
            raise ValueError("hub_id needs revision, the full commit hash it is pinned to")
        if self.folder is not None and self.revision is not None:
            raise ValueError("revision belongs to hub_id; a folder has none")
        for name, size_px in (("width", self.width), ("height", self.height)):
            if size_px % self.size_multiple:
                raise ValueError(
                    f"{name} must be a multiple of size_multiple ({self.size_multiple})"
                )
        for style, template in self.styles.items():
            if "{prompt}" not in template:
                raise ValueError(f"style {style!r} needs {{prompt}} in its template")
            if not is_name(style):
                raise ValueError(
                    f"style {style!r} must be one word of letters, digits, '.', '_' and '-', since"
                    " it follows --style"
                )
        if self.default_style is not None and self.default_style not in self.styles:
            raise ValueError(f"default_style {self.default_style!r} is not one of the styles")
        return self


class Settings(BaseSettings):
    """Everything an operator can set.

    Built directly, it reads the environment only; `load_settings` adds the file.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="forbid", frozen=True
    )

    discord_token: SecretStr | None = Field(
        default=None,
        # Without a prefix too, since that is what every Discord guide calls it.
        validation_alias=AliasChoices("atelier_discord_token", "discord_token"),
        description="the bot's token; only `atelier run` needs it",
    )
    data_dir: FilePath = Field(
        default_factory=default_data_dir,
        description="folder of the database and the pictures; back it up",
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="for people, or one object a line"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="least severe level that is written"
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        default="auto", description="where to draw; `auto` takes a GPU if there is one"
    )
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field(
        default="auto", description="number format of the weights; `auto` takes the device's best"
    )
    threads: Annotated[Whole, Field(ge=0, le=256)] = Field(
        default=0, description="CPU threads for drawing; 0 chooses for this machine"
    )
    default_model: str = Field(
        default="atelier-emoji", description="checkpoint used when neither server nor member chose"
    )
    previews: bool = Field(
        default=True, description="show a small preview while a slow model is drawing"
    )
    start_timeout_s: Annotated[float, Field(ge=1, le=3_600)] = Field(
        default=120, description="longest start of the drawing process, without loading a model"
    )
    step_timeout_s: Annotated[float, Field(ge=1, le=86_400)] = Field(
        default=300,
        description="longest silence of the drawing process; then it is ended and replaced",
    )
    load_timeout_s: Annotated[float, Field(ge=1, le=86_400)] = Field(
        default=3_600, description="longest load of a model, its first download included"
    )
    max_upload_bytes: Annotated[Whole, Field(ge=1_024, le=100 * 2**20)] = Field(
        default=10 * 2**20, description="largest picture accepted as `image`"
    )
    upload_hosts: tuple[str, ...] = Field(
        default=("cdn.discordapp.com", "media.discordapp.net"),
        description="hosts whose pictures are fetched; a prompt cannot make the bot ask any other",
    )
    jobs_waiting_per_server: Annotated[Whole, Field(ge=1, le=100_000)] = Field(
        default=200, description="most jobs of one server that may wait at a time"
    )
    progress_interval_s: Annotated[Number, Field(ge=1.0, le=60.0)] = Field(
        default=2.0, description="least time between two edits of one message while drawing"
    )
    models: tuple[ModelSettings, ...] = Field(
        default=(), description="further checkpoints, one `[[models]]` table each (see below)"
    )

    @model_validator(mode="after")
    def _distinct_models(self) -> Self:
        names = [model.name for model in self.models]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two models are called {name!r}")
        return self

    @property
    def former_data_dir(self) -> Path | None:
        """The folder of an earlier version in which nobody asked to work, or None."""
        is_default = "data_dir" not in self.model_fields_set
        is_former = is_default and self.data_dir == FORMER_DATA_DIR.absolute()
        return self.data_dir if is_former else None


def config_path(config: Path | None = None) -> Path | None:
    """Return the settings file that is in force, or None where there is none.

    Args:
        config: Asked for on the command line; otherwise `ATELIER_CONFIG` names it, and otherwise
            it is `atelier.toml` in the working directory, which may be absent.

    Raises:
        SettingsRefused: A file was named but is not there.
    """
    named = config or (Path(value) if (value := os.environ.get(CONFIG_VARIABLE)) else None)
    if named is None:
        default = Path(CONFIG_FILE)
        return default if default.is_file() else None
    if not named.is_file():
        raise SettingsRefused(f"settings file {named} does not exist; create it or drop the option")
    return named


def load_settings(config: Path | None = None) -> Settings:
    """Return the settings of the environment and the file.

    Raises:
        SettingsRefused: The first thing that is wrong, in one sentence, without its value: the
            value might be the token.
    """
    path = config_path(config)
    content: dict[str, Any] = {}
    if path is not None:
        content = _content_of(path)
        _refuse_unknown_keys(content, path)
    _refuse_unknown_variables(os.environ)

    class FromFile(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return init_settings, env_settings, InitSettingsSource(settings_cls, content)

    try:
        return FromFile()
    except ValidationError as error:
        raise SettingsRefused(_first_problem(error, path, content)) from None
    except SettingsError as error:  # a list or table in the environment that is not JSON
        raise SettingsRefused(f"environment: {error}") from None
    except (RecursionError, OverflowError):  # pydantic meets these before it can say where
        where = path or "environment"
        raise SettingsRefused(f"{where}: a value is nested too deeply or too large") from None


def _content_of(path: Path) -> dict[str, Any]:
    try:
        return border.toml_of(path)
    except FileRefused as error:
        raise SettingsRefused(str(error)) from error


def _refuse_unknown_keys(content: Mapping[str, Any], path: Path) -> None:
    """Refuse a misspelt key before validation, so that the message can name the nearest one."""
    _check_keys(content, Settings, f"{path}: ")
    models = content.get("models", [])
    for number, table in enumerate(models if isinstance(models, list) else []):
        if isinstance(table, dict):
            _check_keys(table, ModelSettings, f"{path}: {_table(content, number)}: ")


def _table(content: Mapping[str, Any], number: int) -> str:
    """Return what people call a `[[models]]` table: its name, or its number from 1."""
    models = content.get("models")
    table = models[number] if isinstance(models, list) and number < len(models) else None
    name = table.get("name") if isinstance(table, dict) else None
    is_named = isinstance(name, str) and 0 < len(name) <= 32
    return f"model {name!r}" if is_named else f"[[models]] number {number + 1}"


def _check_keys(content: Mapping[str, Any], kind: type[BaseModel], place: str) -> None:
    for key in content:
        if key not in kind.model_fields:
            raise SettingsRefused(f"{place}unknown setting {key!r}{_nearest(key, kind)}")


def _refuse_unknown_variables(environ: Mapping[str, str]) -> None:
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or variable == CONFIG_VARIABLE:
            continue
        key = variable.removeprefix(PREFIX).lower()
        if key not in Settings.model_fields:
            raise SettingsRefused(
                f"environment: unknown variable {variable}{_nearest(key, Settings, PREFIX)}"
            )


def _nearest(key: str, kind: type[BaseModel], prefix: str = "") -> str:
    names = difflib.get_close_matches(key, kind.model_fields, n=1, cutoff=0.0)
    name = f"{prefix}{names[0].upper()}" if prefix else repr(names[0])
    return f"; did you mean {name}?"


def _first_problem(error: ValidationError, path: Path | None, content: Mapping[str, Any]) -> str:
    # str(error) would show the values; the token must not reach a terminal or a log.
    problem = error.errors(include_input=False, include_url=False, include_context=False)[0]
    match problem["loc"]:
        case ("models", int(number), *rest):
            tables = {} if f"{PREFIX}MODELS" in os.environ else content  # which of them it checked
            place = [_table(tables, number), *map(str, rest)]
        case loc:
            place = [".".join(map(str, loc)).removeprefix("atelier_")] if loc else []
    where = f"{path} or environment" if path is not None else "environment"
    return ": ".join([where, *place, problem["msg"].removeprefix("Value error, ")])
