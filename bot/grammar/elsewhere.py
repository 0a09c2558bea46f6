"""What hands that are used to another program type: its flags, each with an answer (pure).

Source: the parameter list of Midjourney's documentation, its legacy parameters included.
"""

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class Elsewhere:
    """A flag that Midjourney has and this grammar does not.

    Args:
        spellings: What follows the dashes.
        does: What it does there; the sentence goes on with "and has no effect here".
        instead: A sentence on what comes closest here; empty if nothing does.
    """

    spellings: tuple[str, ...]
    does: str
    instead: str = ""

    @property
    def answer(self) -> str:
        """What to say to somebody who typed it; `{}` stands for the spelling they used."""
        said = f"`--{{}}` {self.does} and has no effect here; leave it out."
        return f"{said} {self.instead}".rstrip()


_PICTURE = "Give one picture to start from as `image`, and `--iw` says how closely to keep to it."

ELSEWHERE = (
    Elsewhere(
        ("v", "version", "niji"),
        "picks a version of Midjourney",
        "`--model` says what draws; `/help` lists the models.",
    ),
    Elsewhere(
        ("fast", "relax", "turbo"),
        "picks a queue of Midjourney",
        "Here turns are fair by themselves.",
    ),
    Elsewhere(("draft",), "asks for a quick draft", "`--q .25` draws in a quarter of the steps."),
    Elsewhere(
        ("stop",), "stops a drawing before its last step", "`--q .5` draws in half the steps."
    ),
    Elsewhere(("weird", "w"), "asks for odd pictures"),
    Elsewhere(("exp",), "asks for more detail"),
    Elsewhere(("raw",), "turns Midjourney's own taste off", "`--s 0` lets the words pull least."),
    Elsewhere(
        ("p", "profile", "personalize"),
        "draws to a person's own taste",
        "`/mysettings` keeps your usual style.",
    ),
    Elsewhere(("sref", "sv", "sw"), "takes a style from a picture", "`--style` names a look."),
    Elsewhere(("cref", "cw", "oref", "ow"), "takes a figure from a picture", _PICTURE),
    Elsewhere(("dref", "dw"), "takes the depth of a picture", _PICTURE),
    Elsewhere(
        ("sameseed",), "starts all pictures from one chance", "`--seed` fixes the first one's."
    ),
    Elsewhere(("hd", "sd", "uplight", "upbeta", "upanime"), "picks how a picture is enlarged"),
    Elsewhere(("hq",), "asks for more detail", "`--q 2` draws in twice the steps."),
    Elsewhere(("test", "testp", "creative", "beta"), "picks a trial version of Midjourney"),
    Elsewhere(("video", "motion", "loop", "end", "bs"), "asks for a film"),
    Elsewhere(("public", "stealth"), "says who sees a picture on Midjourney's pages"),
)
BY_ELSEWHERE = {spelling: flag for flag in ELSEWHERE for spelling in flag.spellings}

# Midjourney's values of `--style`, where the model at hand has no look of that name.
STYLES = frozenset({"raw", "cute", "expressive", "original", "scenic", "4a", "4b", "4c"})

# Words that other programs have for a flag of ours.
OTHER_NAMES = {
    "negative": "no",
    "negativeprompt": "no",
    "ratio": "ar",
    "size": "ar",
    "steps": "q",
    "cfg": "s",
    "guidance": "s",
    "strength": "iw",
    "image": "iw",
    "variety": "c",
    "count": "r",
}


def elsewhere_table() -> str:
    """Return the table of these flags as Markdown, as it stands in `docs/prompts.md`."""
    rows = ["| flag | what it does on Midjourney | what comes closest here |", "|---|---|---|"]
    for flag in ELSEWHERE:
        spellings = ", ".join(f"`--{spelling}`" for spelling in flag.spellings)
        rows.append(f"| {spellings} | {flag.does} | {flag.instead or 'nothing'} |")
    return "\n".join(rows)
