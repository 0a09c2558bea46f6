"""What a dataset is made of, as a preset's `data.toml` says it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from generation.learning.dataset.clean import Cleaning
from generation.learning.dataset.scenes import Scenes
from generation.learning.dataset.split import Splitting

KINDS = ("iconify", "assets", "openclipart", "dicebear", "folder")


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One pinned download.

    Attributes:
        package: Name at its registry, such as `@iconify-json/noto`.
        version: Exact version.
        sha256: SHA-256 of the downloaded file in hexadecimal.
    """

    package: str = ""
    version: str = ""
    sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Drawings in one look: a package, or a folder of pictures.

    Attributes:
        look: The style word this source teaches; also its name for `--source`.
        kind: `iconify` (SVG in one JSON file), `assets` (one WebP file a code point), `openclipart`
            (SVG files with their metadata), `dicebear` (avatars drawn by a script) or `folder`.
        package, version, sha256: The pinned package; empty for a folder.
        requires: Further packages that this one needs in order to run.
        path: Folder of pictures, absolute or within the work folder; empty for a package.
        licence: SPDX name; must be what the package itself says.
        author: Who drew it, where the package names another or nobody.
        is_opt_in: Left out unless `--source` names it: share-alike, because what is trained on it
            may have to carry the same licence, or the community's own pictures.
        is_emoji: Its names mean emoji; otherwise only names found in the word list join them.
        limit: Most drawings taken, spread evenly over its names; 0 takes all.
        groups: Which of its folders are taken (openclipart); empty takes all.
        endings: Where a set draws its icons in several sizes or manners, told apart by how their
            names end: which to take, the best first (`""` is the plain name). Empty takes all.
        subject: Ends every concept, such as `weather icon`; empty adds nothing.
    """

    look: str
    kind: str
    package: str = ""
    version: str = ""
    sha256: str = ""
    requires: tuple[Package, ...] = ()
    path: str = ""
    licence: str = ""
    author: str = ""
    is_opt_in: bool = False
    is_emoji: bool = False
    limit: int = 0
    groups: tuple[str, ...] = ()
    endings: tuple[str, ...] = ()
    subject: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind {self.kind!r} is unknown; known are {list(KINDS)}")
        needed = ("path",) if self.kind == "folder" else ("package", "version", "sha256", "licence")
        for key in needed:
            if not getattr(self, key):
                raise ValueError(f"source {self.look!r} needs {key}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Captions:
    """How a picture is put into words.

    Attributes:
        template: Wraps the words of a picture and its look.
        tags: How many tags that fit no other concept may stand in for one.
        is_grouped: Whether one phrasing adds the group, as in `fox, animals and nature`.
    """

    template: str = "{prompt}, {look} style"
    tags: int = 2
    is_grouped: bool = True

    def __post_init__(self) -> None:
        if "{prompt}" not in self.template or "{look}" not in self.template:
            raise ValueError(f"template {self.template!r} needs {{prompt}} and {{look}}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRecipe:
    """Everything a dataset depends on, besides the code.

    Attributes:
        name: What a checkpoint trained on it is called.
        default_look: Drawn when a request names none.
        sizes_px: Sides of the built pictures, smallest first.
        words: npm package of emojibase; empty for folders alone.
        concepts: Name to emoji: only these are taken, from every emoji source; empty takes all.
        synonyms: Concept to other words for exactly the same thing.
        one_sided: Concepts that must not be mirrored.
        one_sided_words: A concept with one of these words must not be mirrored either.
        one_sided_groups: Nor one of these groups.
        without: Concepts, or words in them, that are left out, such as other people's trademarks.
        scenes: What to make of the training pictures.
        skin_tones: Most pictures a look may have of people in a chosen skin tone.
        flags: Most pictures a look may have of flags.
    """

    name: str
    default_look: str
    sizes_px: tuple[int, ...]
    sources: tuple[Source, ...]
    words: Package = field(default_factory=Package)
    captions: Captions = field(default_factory=Captions)
    cleaning: Cleaning = field(default_factory=Cleaning)
    splitting: Splitting = field(default_factory=Splitting)
    scenes: Scenes = field(default_factory=Scenes)
    concepts: Mapping[str, str] = field(default_factory=dict)
    synonyms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    one_sided: tuple[str, ...] = ()
    one_sided_words: tuple[str, ...] = ()
    one_sided_groups: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    skin_tones: int = 0
    flags: int = 0

    def __post_init__(self) -> None:
        looks = [source.look for source in self.sources]
        if repeated := sorted({look for look in looks if looks.count(look) > 1}):
            raise ValueError(f"looks must differ, these do not: {repeated}")
        if self.default_look not in looks:
            raise ValueError(f"default_look {self.default_look!r} is not one of the looks {looks}")
        if not self.sizes_px or min(self.sizes_px) < 1 or sorted(self.sizes_px) != [*self.sizes_px]:
            raise ValueError(f"sizes_px must be sides in pixels, smallest first: {self.sizes_px}")
        if not self.words.package and any(source.is_emoji for source in self.sources):
            raise ValueError("sources of emoji need a word list: add a [words] table")
        if self.concepts:
            for key, names in (
                ("synonyms", self.synonyms),
                ("one_sided", self.one_sided),
                ("scenes.worn", self.scenes.worn),
                ("scenes.plain", self.scenes.plain),
            ):
                if unknown := sorted(set(names) - set(self.concepts)):
                    raise ValueError(f"{key} names unknown concepts {unknown}")
