"""The prompt grammar: text with flags, as people type it, to values and back. Pure.

The language is Midjourney's; `docs/prompts.md` specifies it. Three steps:

1. `prompt_text.read` cleans what was typed and remembers where every character stood.
2. `permutations.expand` turns braces into several texts.
3. Each text is split into links, weighted words and flags.
"""

import itertools
import re
from typing import Any

from bot.grammar import permutations, prompt_text
from bot.grammar.elsewhere import BY_ELSEWHERE, OTHER_NAMES
from bot.grammar.flags import BY_SPELLING, FLAGS, MAX_JOBS, Flag, decimal_text, near
from bot.grammar.parsed import ParsedPrompt
from bot.grammar.prompt_text import Marked, PromptError
from bot.grammar.resolution import Resolved, check_style, choose_model, resolve
from generation.work.requests.imagine import WeightedPrompt

__all__ = [
    "CONFIRM_ABOVE",
    "MAX_JOBS",
    "ParsedPrompt",
    "PromptError",
    "Resolved",
    "check_style",
    "choose_model",
    "expand",
    "flags_to_text",
    "parse",
    "parse_jobs",
    "resolve",
    "to_text",
    "words_to_text",
]

CONFIRM_ABOVE = 5  # more jobs than this are asked about first

_WORD = re.compile(r"[^ ]+")
# Phones turn two dashes into one long dash. [^\W\d_] is a letter of any script.
_FLAG = re.compile(r"(?:--|[—–])(?P<name>[^\W\d_]+)(?P<rest>.*)")
_GLUED_FLAG = re.compile(r"--(?P<name>[A-Za-z]+)(?![A-Za-z])", re.ASCII)
_ONE_DASH_FLAG = re.compile(r"[-—–](?P<name>[A-Za-z]{2,})", re.ASCII)
_DASHES = ("--", "—", "–")
_GLUED_LONG_DASH = re.compile(r"[^—–]+[—–](?P<name>[A-Za-z]+)", re.ASCII)
_SEPARATOR = re.compile("[,，、]")  # also as Chinese and Japanese keyboards write it
_COMMAND = re.compile(r"/imagine(?= |$)(?: prompt ?:)? ?", re.IGNORECASE)
_LINK_START = re.compile(r"<?https?://", re.IGNORECASE)
_LINK = re.compile(r"https?://[!-;=?-~]{1,1000}", re.IGNORECASE)  # visible ASCII but < and >
_WEIGHT = re.compile(r"-?(?:[0-9]{1,3}(?:\.[0-9]{0,4})?|\.[0-9]{1,4})")
_WEIGHT_LIKE = re.compile(r"[-+]?(?:[0-9.][0-9.eE+-]*|nan|inf|infinity)", re.IGNORECASE)
_MAX_WEIGHT = 100
_ENDS = ",;.，、。"  # what may follow a flag in a sentence


def expand(text: str) -> tuple[str, ...]:
    """Return the texts that the braces in `text` stand for.

    In the result every brace is an ordinary character, so it is for showing, not for `parse`.

    Raises:
        PromptError: Braces are wrong or stand for more than `MAX_JOBS` texts.
    """
    return tuple(source.text for source in _expand(text))


def parse(text: str) -> ParsedPrompt:
    """Return the one job that `text` asks for.

    Raises:
        PromptError: The text is not in the grammar, or asks for several jobs.
    """
    jobs = parse_jobs(text)
    if len(jobs) > 1:
        raise PromptError(
            f"This asks for {len(jobs)} jobs, but only one is possible here.",
            text=text,
            length=len(text),
        )
    return jobs[0]


def parse_jobs(text: str) -> tuple[ParsedPrompt, ...]:
    """Return every job that `text` asks for, permutations in order and repeats side by side.

    Raises:
        PromptError: The text is not in the grammar, or asks for more than `MAX_JOBS` jobs.
    """
    jobs: list[ParsedPrompt] = []
    for source in _expand(text):
        parsed, repeat = _Reader(source).read()
        jobs += itertools.repeat(parsed, repeat)
        if len(jobs) > MAX_JOBS:
            start, length = parsed.spans.get("repeat", (0, len(text)))
            raise PromptError(
                f"This asks for more than {MAX_JOBS} jobs. Use fewer repeats or braces.",
                text=text,
                position=start,
                length=length,
            )
    return tuple(jobs)


def to_text(parsed: ParsedPrompt) -> str:
    """Return the canonical text of a job; `parse` is its inverse."""
    return " ".join(
        filter(None, [*parsed.image_urls, words_to_text(parsed), flags_to_text(parsed)])
    )


def words_to_text(parsed: ParsedPrompt) -> str:
    """Return the words of a job as they can be typed, without links and flags."""
    words = []
    if len(parsed.prompts) == 1 and parsed.prompts[0].weight == 1:
        words.append(parsed.prompts[0].text)
    else:
        for part in parsed.prompts:
            space = " " if part.text.endswith(":") else ""
            words.append(f"{part.text}{space}::{decimal_text(part.weight)}")
    return _escaped(" ".join(words))


def flags_to_text(parsed: ParsedPrompt) -> str:
    """Return the flags of a job as they can be typed behind its words."""
    given = parsed.given
    flags = [
        f"--{flag.spellings[0]} {flag.write(getattr(parsed, flag.field))}".rstrip()
        for flag in FLAGS
        if flag.field in given
    ]
    return _escaped(" ".join(flags))


def _escaped(text: str) -> str:
    return text.replace("{", "\\{").replace("}", "\\}")


def _expand(text: str) -> list[Marked]:
    expanded = permutations.expand(prompt_text.read(text), MAX_JOBS)
    # Again, because leaving a brace out may have brought spaces or marks together.
    return [_without_command(prompt_text.clean(source)) for source in expanded]


def _without_command(source: Marked) -> Marked:
    """Return what follows `/imagine prompt:`, which people copy along with a prompt."""
    while match := _COMMAND.match(source.text):
        rest = prompt_text.clean(source[match.end() :])
        if not rest.text:
            raise source.error("The prompt is empty. Write what you want to see.")
        source = rest
    return source


class _Reader:
    """Reads one job from a text without braces."""

    def __init__(self, source: Marked) -> None:
        self._source = source
        self._words = [match.span() for match in _WORD.finditer(source.text)]
        self._spans: dict[str, tuple[int, int]] = {}

    def read(self) -> tuple[ParsedPrompt, int]:
        """Return the job and how often to draw it."""
        matches = [_FLAG.fullmatch(self._source.text, *word) for word in self._words]
        flags = [index for index, match in enumerate(matches) if match]
        first_flag = flags[0] if flags else len(self._words)
        image_urls = self._read_links(first_flag)
        self._refuse_loose_flags(first_flag)
        prompts = self._read_prompts(len(image_urls), first_flag)
        fields: dict[str, Any] = {}
        for index, following in itertools.pairwise([*flags, len(self._words)]):
            flag = self._read_flag_name(index)
            value = self._read_flag_value(flag, index, following)
            if flag.field == "negative":
                value = fields.get("negative", ()) + value
            elif flag.field in fields:
                raise self._error(f"`--{flag.spellings[0]}` is given twice.", index)
            fields[flag.field] = value
            self._spans[flag.field] = self._source.span(
                self._words[index][0], self._words[following - 1][1]
            )
        repeat = fields.pop("repeat", 1)
        if repeat > 1 and "seed" in fields:
            start, length = self._spans["repeat"]
            raise PromptError(
                "With `--seed` every repeat would be the same picture. Leave one of the two out.",
                text=self._source.typed,
                position=start,
                length=length,
            )
        return ParsedPrompt(
            prompts=prompts,
            image_urls=image_urls,
            typed=self._source.typed,
            spans=self._spans,
            **fields,
        ), repeat

    def _error(
        self, message: str, first: int, last: int | None = None, suggestion: str | None = None
    ) -> PromptError:
        """Return an error that points at the words from `first` to `last`, both included."""
        last = first if last is None else last
        start, end = self._words[first][0], self._words[last][1]
        return self._source.error(message, start, end, suggestion)

    def _read_links(self, first_flag: int) -> tuple[str, ...]:
        links: list[str] = []
        for index, (start, end) in enumerate(self._words[:first_flag]):
            if not _LINK_START.match(self._source.text, start, end):
                break
            link = self._source.text[start:end].strip("<>,")
            if not _LINK.fullmatch(link):
                raise self._error("This is not a link to a picture.", index)
            links.append(link)
        return tuple(links)

    def _refuse_loose_flags(self, first_flag: int) -> None:
        """Refuse what was meant as a flag although a space is missing or too much.

        A dash in prose is none: what follows must be a flag's name and a value it takes, and then
        the text must end or go on with a flag.
        """
        text = self._source.text
        for index, (start, end) in enumerate(self._words[:first_flag]):
            if text[start:end] in _DASHES and index + 1 < first_flag:
                name = text[slice(*self._words[index + 1])].lower()
                is_typed = text[start:end] == "--" and name in BY_SPELLING
                if is_typed or self._is_flag(name, index + 2, first_flag):
                    message = f"Leave out the space between the dashes and `{name}`: `--{name}`."
                    raise self._error(message, index, index + 1, f"--{name}")
            elif glued := _GLUED_LONG_DASH.fullmatch(text, start, end):
                name = glued["name"].lower()
                if self._is_flag(name, index + 1, first_flag):
                    message = f"Put a space before `--{name}`."
                    raise self._source.error(message, glued.start("name") - 1, end, f"--{name}")

    def _is_flag(self, name: str, following: int, first_flag: int) -> bool:
        """Whether word `following` is the value of a flag of this name, and the last before flags."""
        flag = BY_SPELLING.get(name)
        if (
            flag is None
            or not flag.value
            or flag.field == "negative"
            or following != first_flag - 1
        ):
            return False
        return _accepts(flag, self._source.text[slice(*self._words[following])].rstrip(_ENDS))

    def _read_prompts(self, first: int, first_flag: int) -> tuple[WeightedPrompt, ...]:
        """Split words `first` to `first_flag` at their `::`."""
        if first >= first_flag:
            at = (
                self._words[first_flag][0]
                if first_flag < len(self._words)
                else len(self._source.text)
            )
            raise self._source.error(
                "There are no words to draw. Write what you want to see.", at, at
            )
        start, stop = self._words[first][0], self._words[first_flag - 1][1]
        text = self._source.text
        parts: list[WeightedPrompt] = []
        while start < stop:
            colons = text.find("::", start, stop)
            end = stop if colons < 0 else colons
            words = self._field(start, end)
            if not words:
                raise self._source.error("There are no words before this `::`.", end, end + 2)
            weight, start = (1.0, stop) if colons < 0 else self._read_weight(colons + 2, stop)
            parts.append(WeightedPrompt(words, weight))
            while start < stop and text[start] == " ":
                start += 1
        if sum(part.weight for part in parts) <= 0:
            raise self._error("The weights must add up to more than zero.", first, first_flag - 1)
        return tuple(parts)

    def _read_weight(self, start: int, stop: int) -> tuple[float, int]:
        """Return the weight that stands at `start`, 1 if none does, and where the words go on."""
        text = self._source.text
        end = min(
            at
            for at in (text.find(" ", start, stop), text.find("::", start, stop), stop)
            if at >= 0
        )
        number = text[start:end].rstrip(",")
        if _WEIGHT.fullmatch(number) and abs(float(number)) <= _MAX_WEIGHT:
            return float(number) + 0.0, end  # + 0.0 turns -0 into 0
        if _WEIGHT_LIKE.fullmatch(number):
            raise self._source.error(
                f"A weight is a number from -{_MAX_WEIGHT} to {_MAX_WEIGHT}, such as 2 or -.5.",
                start,
                end,
            )
        return 1.0, start

    def _read_flag_name(self, index: int) -> Flag:
        start, end = self._words[index]
        match = _FLAG.fullmatch(self._source.text, start, end)
        assert match is not None  # noqa: S101 - `read` chose this word for matching
        name, rest = match["name"].lower(), match["rest"]
        flag = BY_SPELLING.get(name)
        if flag and not rest:
            return flag
        if flag:
            raise self._error(
                f"Put a space between `--{name}` and its value, as in `{flag.example}`."
                if flag.value
                else f"`--{name}` takes no value.",
                index,
                suggestion=flag.example,
            )
        if name in BY_ELSEWHERE:
            raise self._error(self._not_here(name, index), index)
        meant = OTHER_NAMES.get(name) or near(name, BY_SPELLING)
        what = "This flag is" if not name.isascii() or len(name) > 20 else f"`--{name}` is"
        hint = f" Did you mean `--{meant}`?" if meant else f" There are {_all_flags()}."
        dash = (
            "" if self._source.text.startswith("--", start) else " (a dash before a word is `--`)"
        )
        raise self._error(
            f"{what} not known{dash}.{hint}", index, suggestion=meant and f"--{meant}"
        )

    def _not_here(self, name: str, index: int) -> str:
        """Answer a flag of Midjourney's, and name all further ones: one answer is enough."""
        said = BY_ELSEWHERE[name].answer.format(name)
        matches = (_FLAG.fullmatch(self._source.text, *word) for word in self._words[index + 1 :])
        names = dict.fromkeys(match["name"].lower() for match in matches if match)
        further = [f"`--{other}`" for other in names if other in BY_ELSEWHERE and other != name]
        return f"{said} Leave out {' and '.join(further)} too." if further else said

    def _read_flag_value(self, flag: Flag, index: int, following: int) -> Any:
        name = f"`--{flag.spellings[0]}`"
        if not flag.value:
            self._refuse_words(index + 1, following)
            return True
        if following == index + 1:
            raise self._error(
                f"{name} needs a value, as in `{flag.example}`.", index, suggestion=flag.example
            )
        if flag.field == "negative":
            return self._read_negative(index + 1, following)
        self._refuse_words(index + 2, following)
        start, end = self._words[index + 1]
        text = self._source.text[start:end]
        try:
            return flag.read(text)
        except ValueError as error:
            if text[-1] in _ENDS and _accepts(flag, text[:-1]):
                message = f"Leave out the `{text[-1]}` behind the value."
                said = f"--{flag.spellings[0]} {text[:-1]}"
                raise self._source.error(message, end - 1, end, said) from error
            raise self._error(
                f"{name} takes {flag.allowed}, as in `{flag.example}`.",
                index + 1,
                suggestion=flag.example,
            ) from error

    def _refuse_words(self, first: int, following: int) -> None:
        if first < following:
            raise self._error(
                "These words come after a flag. Put them before the first flag.",
                first,
                following - 1,
            )

    def _read_negative(self, first: int, following: int) -> tuple[str, ...]:
        start, stop = self._words[first][0], self._words[following - 1][1]
        items: list[str] = []
        while start <= stop:
            separator = _SEPARATOR.search(self._source.text, start, stop)
            end = separator.start() if separator else stop
            if item := self._field(start, end):
                items.append(item)
            start = end + 1
        if not items:
            raise self._error(
                "`--no` needs a value, as in `--no text, frame`.", first, following - 1
            )
        return tuple(items)

    def _field(self, start: int, end: int) -> str:
        """Return the words from `start` to `end`, none of which may look like something else."""
        source = prompt_text.clean(self._source[start:end])
        for match in _WORD.finditer(source.text):
            self._check_word(source, *match.span())
        return source.text

    def _check_word(self, source: Marked, start: int, end: int) -> None:
        if _LINK_START.match(source.text, start, end):
            raise source.error("Links come first, before all words.", start, end)
        one_dash = _ONE_DASH_FLAG.fullmatch(source.text, start, end)
        if one_dash and one_dash["name"].lower() in BY_SPELLING:
            name = one_dash["name"].lower()
            raise source.error(f"A flag has two dashes: `--{name}`.", start, end, f"--{name}")
        if _FLAG.fullmatch(source.text, start, end):
            raise source.error("Put a space before this flag.", start, end)
        for glued in _GLUED_FLAG.finditer(source.text, start, end):
            name = glued["name"].lower()
            if name in BY_SPELLING:
                raise source.error(
                    f"Put a space before `--{name}`.", glued.start(), glued.end(), f"--{name}"
                )


def _accepts(flag: Flag, text: str) -> bool:
    try:
        flag.read(text)
    except ValueError:
        return False
    return True


def _all_flags() -> str:
    return ", ".join(f"`--{flag.spellings[0]}`" for flag in FLAGS)
