"""Every sentence a person reads more than once, and how foreign text is shown safely (pure)."""

import dataclasses
import hashlib
import re
from collections.abc import Sequence

from bot.visible import visible
from generation.work.remarks import Cut, OtherLanguage, Remark, SeveralThings, UnknownWord
from storage.consent import Scope

# Discord's own escape leaves masked links and headings alone.
_MARKDOWN = re.compile(r"([\\`*_~|>#\[\]()\-<@:])")
_LINK = re.compile(r"<?https?://\S+", re.IGNORECASE)
SHOWN_PROMPT = 300
SHOWN_UNKNOWN = 3
SHOWN_THINGS = 3
SHOWN_WORD = 20


def plain(text: str, limit: int = SHOWN_PROMPT) -> str:
    """Return text that people wrote so that it shows as written: no markdown, links or mentions.

    Nothing of it hides, runs backwards or stacks up either: a moderator reads what is there.

    Args:
        text: Anything.
        limit: Longest result before escaping, in characters; longer text ends in an ellipsis.
    """
    if (seen := visible(text)) is not None:
        text = "".join(letter for _, letter in seen)
    if len(text) > limit:
        text = text[: limit - 1].rstrip() + "…"
    text = _MARKDOWN.sub(r"\\\1", text)
    # A zero-width space after the scheme keeps Discord from making a link of it.
    return re.sub(r"(https?)(\\:)//", "\\1\\2\u200b//", text)


def without_links(text: str) -> str:
    """Return a prompt without the links in it: Discord's are signed, and open to whoever has one."""
    return _LINK.sub("(a link)", text)


def alt_text(prompt: str, index: int, total: int, style: str | None) -> str:
    """Return the description of one picture, at most 256 characters."""
    styled = f", style {style}" if style else ""
    tail = f" (picture {index + 1} of {total}{styled}, drawn by a model)"
    return prompt[: 256 - len(tail)].strip() + tail


def best_of(num_images: int, num_candidates: int) -> str:
    """Say that more were drawn than are shown, and who picked."""
    return (
        f"The best {num_images} of {num_candidates} drawn, as a small model judges how they fit"
        " the words."
    )


def remarks(model: str, said: Sequence[Remark]) -> list[str]:
    """Say what a model made of the words: one sentence a remark, of unknown words a few."""
    sentences = [_sentence(model, each) for each in said if not isinstance(each, UnknownWord)]
    unknown = [each for each in said if isinstance(each, UnknownWord)]
    sentences += [_sentence(model, each) for each in unknown[:SHOWN_UNKNOWN]]
    if rest := len(unknown[SHOWN_UNKNOWN:]):
        sentences.append(f"Nor does it know {rest} other {'word' if rest == 1 else 'words'}.")
    return sentences


def _sentence(model: str, remark: Remark) -> str:
    match remark:
        case UnknownWord(word, near):
            instead = f"; near: {', '.join(near)}" if near else ""
            return f"`{model}` knows no “{_word(word)}” yet{instead}."
        case Cut(field, read_up_to):
            what = "the prompt" if field == "prompt" else "what to avoid"
            return f"`{model}` read {what} up to “{plain(read_up_to)}”; the rest has no effect."
        case OtherLanguage():
            return f"`{model}` reads English only, and this does not look like it."
        case SeveralThings(things):
            named = " and ".join(f"“{_word(thing)}”" for thing in things[:SHOWN_THINGS])
            return (
                f"`{model}` can rarely hold two things in one picture; {named} come out better"
                " one by one."
            )


def _word(word: str) -> str:
    return word if len(word) <= SHOWN_WORD else word[: SHOWN_WORD - 1] + "…"


def trouble(code: str) -> str:
    """Say why nothing is drawn just now, and that nobody need do anything about it."""
    why = {
        "worker": "the drawing worker does not start",
        "storage": "pictures cannot be saved",
    }.get(code, "something is out of order")
    return f"Drawing is paused, because {why}. I keep trying; nothing in line is lost."


def duration(seconds: float) -> str:
    """Return a span of time as people say it."""
    if seconds < 1.5:
        return "about a second"
    if seconds < 90:
        return f"about {seconds:.0f} seconds"
    if seconds < 5400:
        return f"about {seconds / 60:.0f} minutes"
    return f"about {seconds / 3600:.0f} hours"


def span(at_least_s: float, at_most_s: float) -> str:
    """Return two spans of time as people say them, as one if they would say the same."""
    least, most = duration(at_least_s), duration(at_most_s)
    if least == most:
        return most
    if least.split()[-1] == most.split()[-1]:
        return f"{least.rpartition(' ')[0]} to {most.removeprefix('about ')}"
    return f"{least} to {most.removeprefix('about ')}"


def mention(member_id: int) -> str:
    """Return a mention; messages carry `AllowedMentions.none()`, so nobody is pinged."""
    return f"<@{member_id}>" if member_id else "the terminal"


@dataclasses.dataclass(frozen=True, slots=True)
class ConsentText:
    """The question as it is shown; its hash goes into every consent record."""

    version: str
    text: str
    choices: tuple[tuple[str, str], ...]  # scope value -> label

    @property
    def sha256(self) -> str:
        """SHA-256 over everything the person was shown, 64 hex digits."""
        shown = "\n".join([self.version, self.text, *(f"{s}: {c}" for s, c in self.choices)])
        return hashlib.sha256(shown.encode()).hexdigest()


CONSENT = ConsentText(
    version="2",
    text=(
        "### Before your first picture: two choices\n"
        "Both are **off** until you turn them on. Your picture is drawn either way, and you can "
        "change your mind at any time with `/consent`.\n"
        "I keep your prompt, seed and pictures so that they can be redrawn and moderated; "
        "the server's moderators can read that record."
    ),
    choices=(
        # "gallery" was asked for in version 1 and will be again once there is a gallery.
        ("remix", "Others may remix my pictures"),
        ("training", "My pictures may improve the models"),
    ),
)

# Earlier texts that said the same of each of these: whoever answered one is not asked again, and
# their yes counts. A text that comes to mean more starts a new tuple.
SAME_BEFORE = ("213dd7a03fa14ad037c66fa73b3cd2a300667a6311e3e865cb2e4cf36270be95",)
ASKED = {Scope(scope): frozenset({CONSENT.sha256, *SAME_BEFORE}) for scope, _ in CONSENT.choices}
