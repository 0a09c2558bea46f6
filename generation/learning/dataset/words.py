"""What emoji mean: emojibase's labels, tags and groups, found by code point or by name."""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from generation.learning.dataset.packages import read_json

VARIATION_SELECTOR = "fe0f"
SHORTCODES = ("cldr", "emojibase", "github", "joypixels", "iamcal", "emojibase-legacy")
TONE = re.compile(r"-(?P<tone>(?:medium-)?(?:light|dark)|medium)(?:-skin-tone)?$")
HAS_TONE = re.compile(r"skin tone")
COUNTRY = re.compile(r"^flag-(?:for-|flag-)+")
# Blocks of Unicode that hold symbols and pictographs: their names spell what icon sets squeeze.
SYMBOLS = ((0x2000, 0x2C00), (0x1F000, 0x1FB00))
NOT_A_CONCEPT = "component"
LONGEST_WORD = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What one emoji is.

    Attributes:
        concept: The same words in every source.
        words: Other words for exactly the same thing.
        phrases: Whole captions that came with it.
        tags: Words that go with it.
        group: Coarse kind, such as `animals and nature`.
        has_tone: Shows people in a chosen skin tone.
        is_flag: Shows a flag.
    """

    concept: str
    words: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    group: str = ""
    has_tone: bool = False
    is_flag: bool = False


def code_point_key(emoji: str) -> str:
    """Return the emoji's code points as packages spell them, without variation selectors."""
    return without_selectors("-".join(f"{ord(character):04x}" for character in emoji))


def without_selectors(code_points: str) -> str:
    """Drop U+FE0F, which packages write inconsistently."""
    parts = code_points.lower().split("-")
    return "-".join(part for part in parts if part != VARIATION_SELECTOR)


def squeezed(name: str) -> str:
    """Return a name's letters and digits alone, so that every spelling of it is the same.

    >>> squeezed("Côte d’Ivoire"), squeezed("cote-divoire")
    ('cotedivoire', 'cotedivoire')
    """
    name = name.replace("&", "and")
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]", "", plain)


def plain_words(label: str) -> str:
    """Write a label as people speak: `flag: Chad` is a flag of chad.

    >>> plain_words("waving hand: light skin tone"), plain_words("keycap: 1")
    ('waving hand with light skin tone', 'keycap 1')
    """
    label = re.sub(r"[“”\"()]", "", label.replace("’", "'")).lower().strip()
    head, colon, rest = label.partition(": ")
    if not colon:
        return label
    if head == "keycap":
        return f"keycap {rest}"
    # A comma would end the prompt where the look begins.
    listed = " and ".join(rest.replace(", ", ",").rsplit(",", 1)).replace(",", " ")
    return f"{head} {'of' if head == 'flag' else 'with'} {listed}"


@dataclass(frozen=True)
class WordList:
    """Meanings by code point and by name; empty where a recipe has none.

    Attributes:
        by_code_point: Without variation selectors.
        by_label: Squeezed label to code point: a name that can only mean this.
        by_name: Squeezed short code or Unicode name to code point as well: for emoji names only.
        spelt: Squeezed name of any symbol to its words.
        frequency: How often each word is used, to split names that run together.
        is_restricted: The recipe lists its concepts; nothing else is wanted.
    """

    by_code_point: Mapping[str, Meaning] = field(default_factory=dict)
    by_label: Mapping[str, str] = field(default_factory=dict)
    by_name: Mapping[str, str] = field(default_factory=dict)
    spelt: Mapping[str, str] = field(default_factory=dict)
    frequency: Mapping[str, int] = field(default_factory=dict)
    is_restricted: bool = False

    def of_code_point(self, code_points: str) -> Meaning | None:
        """Return what an emoji means, if the recipe wants it."""
        return self.by_code_point.get(without_selectors(code_points))

    def of_emoji_name(self, name: str) -> Meaning | None:
        """Return what an emoji's name means, in any of the spellings that icon sets use."""
        for spelling in _spellings(name):
            if code_points := self.by_name.get(squeezed(spelling)):
                return self.by_code_point.get(code_points)
        return None

    def of_label(self, name: str) -> Meaning | None:
        """Return the emoji that is called exactly so."""
        return self.by_code_point.get(self.by_label.get(squeezed(name), ""))

    def split(self, name: str) -> str:
        """Split words that run together into the likeliest ones.

        Least sum of surprises, found left to right; a word nobody uses costs by its length.

        >>> WordList(frequency={"winking": 2, "wink": 2, "face": 9, "ing": 1}).split("winkingface")
        'winking face'
        """
        if name in self.spelt:
            return self.spelt[name]
        total = sum(self.frequency.values()) + 1
        best: list[tuple[float, list[str]]] = [(0.0, [])]
        for end in range(1, len(name) + 1):
            candidates = []
            for start in range(max(0, end - LONGEST_WORD), end):
                word = name[start:end]
                count = self.frequency.get(word, 0)
                unlikely = math.log(total / count) if count else 10.0 + 4.0 * len(word)
                candidates.append((best[start][0] + unlikely, [*best[start][1], word]))
            best.append(min(candidates))
        return " ".join(best[-1][1])


def _spellings(name: str) -> Iterator[str]:
    """Yield ways in which icon sets write one emoji name, the likeliest first."""
    bare = re.sub(r"-\d+$", "", name)  # house-2: a second drawing of the same
    for each in dict.fromkeys((name, bare)):
        yield each
        bare, tone = without_tone(each)
        if tone:
            yield f"{bare}-{tone}-skin-tone"
        if COUNTRY.match(each):
            yield f"flag-{COUNTRY.sub('', each)}"
        yield each.replace("blonde", "blond")
        yield f"{each}-face"
        yield f"{each}-button"


def without_tone(name: str) -> tuple[str, str]:
    """Part an emoji's name from the skin tone at its end, or from none.

    >>> without_tone("elf-medium-dark"), without_tone("elf")
    (('elf', 'medium-dark'), ('elf', ''))
    """
    match = TONE.search(name)
    return (name[: match.start()], match["tone"]) if match else (name, "")


def read(tarball: Path, concepts: Mapping[str, str]) -> WordList:
    """Read emojibase's English words.

    Source: https://emojibase.dev/docs/datasets (data.json: label, tags, hexcode, group, skins).

    Args:
        tarball: The npm package emojibase-data.
        concepts: The recipe's names for the emoji it wants; empty takes all under their labels.
    """
    members = [f"en/shortcodes/{preset}.json" for preset in SHORTCODES]
    about, table, *shortcodes = read_json(tarball, "meta/groups.json", "en/data.json", *members)
    entries = list(_flattened(table, about["groups"]))
    chosen = {code_point_key(emoji): name for name, emoji in concepts.items()}
    meanings: dict[str, Meaning] = {}
    by_label: dict[str, str] = {}
    for code_points, entry, group in entries:
        by_label.setdefault(squeezed(entry["label"]), code_points)
        if group == NOT_A_CONCEPT or (concepts and code_points not in chosen):
            continue
        meanings[code_points] = _meaning(entry, group, chosen.get(code_points, ""))
    known = {code_points for code_points, _, _ in entries}
    by_name = dict(by_label)
    for name, code_points in _other_names(shortcodes, known):
        by_name.setdefault(squeezed(name), code_points)
    symbols = list(_symbol_names())
    texts = [text for _, entry, _ in entries for text in (entry["label"], *entry["tags"])]
    return WordList(
        by_code_point=meanings,
        by_label=by_label,
        by_name=by_name,
        spelt={squeezed(name): name for name in symbols},
        frequency=Counter(
            word
            for text in (*texts, *symbols)
            for word in re.findall(r"[a-z0-9]+", text.lower())
            if len(word) > 1 or word == "a"
        ),
        is_restricted=bool(concepts),
    )


def _symbol_names() -> Iterator[str]:
    for start, end in SYMBOLS:
        for code_point in range(start, end):
            if name := unicodedata.name(chr(code_point), ""):
                yield name.lower().replace("-", " ")


def _flattened(
    table: list[dict[str, Any]], groups: Mapping[str, str]
) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield code points, entry and group of every emoji and of its skin tones."""
    for entry in table:
        group = groups.get(str(entry.get("group", "")), NOT_A_CONCEPT).replace("-", " and ")
        for each in (entry, *entry.get("skins", ())):
            yield without_selectors(each["hexcode"]), {"tags": entry.get("tags", ()), **each}, group


def _meaning(entry: Mapping[str, Any], group: str, name: str) -> Meaning:
    spoken = plain_words(entry["label"])
    concept = name.lower() or spoken
    return Meaning(
        concept=concept,
        words=() if spoken == concept else (spoken,),
        tags=tuple(entry["tags"]),
        group=group,
        has_tone=HAS_TONE.search(spoken) is not None,
        is_flag=group == "flags",
    )


def _other_names(
    shortcodes: Iterable[Mapping[str, str | list[str]]], known: set[str]
) -> Iterator[tuple[str, str]]:
    for preset in shortcodes:
        for hexcode, names in preset.items():
            code_points = without_selectors(hexcode)
            if code_points in known:
                for name in [names] if isinstance(names, str) else names:
                    yield name, code_points
    for code_points in known:
        if "-" not in code_points:
            yield unicodedata.name(chr(int(code_points, 16)), ""), code_points
