"""What DiceBear's styles can be told to draw, and the words for it."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from generation.learning.dataset.captions import with_article

Options = Mapping[str, object]
Choice = tuple[str, Options]

COLOURS = {
    "red": "e03131", "orange": "f76707", "yellow": "ffd43b", "green": "2f9e44", "blue": "1c7ed6",
    "purple": "7048e8", "pink": "f06595", "brown": "7f5539", "black": "212529", "gray": "868e96",
}  # fmt: skip
HAIR_COLOURS = {
    "blond": "e0b75e", "brown": "603a14", "black": "1d1412", "red": "b5391b", "gray": "b8b8b8",
    "blue": "228be6", "green": "40a02b",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Traits:
    """One style's attributes; of each list one choice is drawn.

    Attributes:
        subject: What every picture shows.
        form: What such a picture is, for a phrasing of its own; empty for none.
        always: Options that every picture gets.
        before: Words that go before the subject.
        having: Words that follow it, joined by `and`; empty words for "without".
        wearing: Words for a further phrasing only.
    """

    subject: str
    form: str = ""
    always: Options = field(default_factory=dict)
    before: Sequence[Sequence[Choice]] = ()
    having: Sequence[Sequence[Choice]] = ()
    wearing: Sequence[Choice] = ()


@dataclass(frozen=True, slots=True)
class Chosen:
    """The options of one avatar and what they show."""

    options: Options
    concept: str
    phrases: tuple[str, ...]


def choose(style: str, number: int) -> Chosen:
    """Draw the attributes of one avatar; the same number always draws the same."""
    traits = TRAITS[style]
    lots = random.Random(f"{style}/{number}")  # noqa: S311 - lots for pictures, not secrets
    options: dict[str, object] = {"seed": f"{number}", **dict(traits.always)}
    before: list[str] = []
    having: list[str] = []
    for words, choices in ((before, traits.before), (having, traits.having)):
        for group in choices:
            word, effect = lots.choice(group)
            options.update(effect)
            if word:
                words.append(word)
    concept = " ".join([*before, traits.subject])
    if having:
        concept += f" with {' and '.join(having)}"
    phrases = [f"{traits.form} of {with_article(concept)}"] if traits.form else []
    if traits.wearing:
        word, effect = lots.choice(traits.wearing)
        options.update(effect)
        phrases.append(f"{concept} {word}")
    return Chosen(options, concept, tuple(phrases))


def _numbered(prefix: str, last: int) -> list[str]:
    return [f"{prefix}{number:02}" for number in range(1, last + 1)]


def _maybe(word: str, option: str, rarely: int = 1, **more: object) -> list[Choice]:
    """Offer to have something, or `rarely` times as often not."""
    without: Choice = ("", {f"{option}Probability": 0})
    return [(word, {f"{option}Probability": 100, **more}), *[without] * rarely]


def _coloured(option: str, colours: Mapping[str, str]) -> list[Choice]:
    return [(name, {option: [value]}) for name, value in colours.items()]


def _hair(length: str, last: int) -> list[Choice]:
    return [
        (f"{length} {name} hair", {"hair": _numbered(length, last), "hairColor": [value]})
        for name, value in HAIR_COLOURS.items()
    ]


def _shapes() -> list[list[Choice]]:
    forms = {
        "circle": "ellipseFilled", "square": "rectangleFilled", "triangle": "polygonFilled",
        "ring": "ellipse",
    }  # fmt: skip
    return [
        [
            (
                with_article(f"{colour} {form}"),
                {f"shape{place}": [kind], f"shape{place}Color": [value]},
            )
            for form, kind in forms.items()
            for colour, value in COLOURS.items()
        ]
        for place in (1, 2)
    ]


SMILES = [f"happy{number:02}" for number in range(1, 14)]
TRAITS: Mapping[str, Traits] = {
    "pixel-art": Traits(
        "person", "avatar",
        always={"accessoriesProbability": 0},
        before=[[("smiling", {"mouth": SMILES}), ("sad", {"mouth": _numbered("sad", 10)})]],
        having=[
            [*_hair("short", 24), *_hair("long", 21)],
            _maybe("glasses", "glasses", 2, glasses=_numbered("dark", 7)),
            _maybe("a beard", "beard", 3),
            _maybe("a hat", "hat", 4),
        ],
        wearing=[(f"in a {name} shirt", {"clothingColor": [value]}) for name, value in COLOURS.items()],
    ),
    "lorelei": Traits(
        "person", "portrait",
        before=[[("smiling", {"mouth": SMILES}), ("sad", {"mouth": _numbered("sad", 9)})]],
        having=[
            _maybe("glasses", "glasses"),
            _maybe("a beard", "beard", 2),
            _maybe("earrings", "earrings", 3),
            _maybe("flowers in the hair", "hairAccessories", 4),
            _maybe("freckles", "freckles", 4),
        ],
    ),
    "notionists": Traits(
        "person", "portrait",
        having=[
            _maybe("glasses", "glasses", glasses=_numbered("variant", 11)),
            _maybe("a beard", "beard", 2),
            [
                ("a raised finger", {"gestureProbability": 100, "gesture": ["point"]}),
                ("a phone in the hand", {"gestureProbability": 100, "gesture": ["handPhone"]}),
                ("a raised hand", {"gestureProbability": 100, "gesture": ["hand"]}),
                *[("", {"gestureProbability": 0})] * 3,
            ],
        ],
    ),
    "open-peeps": Traits(
        "person", "portrait",
        before=[[
            ("smiling", {"face": ["smile", "smileBig", "smileTeethGap", "cute"]}),
            ("laughing", {"face": ["smileLOL"]}),
            ("angry", {"face": ["rage", "veryAngry"]}),
            ("frightened", {"face": ["fear", "concernedFear"]}),
            ("tired", {"face": ["tired"]}),
            ("serious", {"face": ["serious", "solemn"]}),
        ]],
        having=[
            [
                ("an afro", {"head": ["afro", "longAfro"]}),
                ("a bun", {"head": ["bun", "bun2"]}),
                ("cornrows", {"head": ["cornrows", "cornrows2"]}),
                ("dreadlocks", {"head": ["dreads1", "dreads2"]}),
                ("gray hair", {"head": ["grayBun", "grayMedium", "grayShort"]}),
                ("a woolly hat", {"head": ["hatBeanie"]}),
                ("a hijab", {"head": ["hijab"]}),
                ("long hair", {"head": ["long", "longCurly", "longBangs"]}),
                ("a mohawk", {"head": ["mohawk", "mohawk2"]}),
                ("a bald head", {"head": ["noHair1", "noHair2", "noHair3"]}),
                ("short hair", {"head": ["short1", "short2", "short3", "short4", "short5"]}),
                ("a turban", {"head": ["turban"]}),
            ],
            [
                ("glasses", {"accessoriesProbability": 100, "accessories": ["glasses", "glasses2"]}),
                ("sunglasses", {"accessoriesProbability": 100, "accessories": ["sunglasses"]}),
                ("an eyepatch", {"accessoriesProbability": 100, "accessories": ["eyepatch"]}),
                *[("", {"accessoriesProbability": 0})] * 4,
            ],
            _maybe("a moustache", "facialHair", 4, facialHair=["moustache1", "moustache2"]),
            _maybe("a face mask", "mask", 7, mask=["medicalMask"]),
        ],
        wearing=[(f"in a {name} shirt", {"clothingColor": [value]}) for name, value in COLOURS.items()],
    ),
    "thumbs": Traits(
        "thumb with a face", "avatar",
        always={"backgroundColor": ["transparent"]},
        before=[_coloured("shapeColor", COLOURS)],
    ),
    "shapes": Traits(
        "abstract picture",
        always={"backgroundColor": ["transparent"], "shape3": ["line"], "shape3Color": ["transparent"]},
        having=_shapes(),
    ),
    "glass": Traits("glass gradient", before=[_coloured("backgroundColor", COLOURS)]),
    "rings": Traits("rings", before=[_coloured("ringColor", COLOURS)]),
}  # fmt: skip
