"""People judge: a blind page of pairs, and what their answers say.

The page shows what two checkpoints drew of the same words from the same seeds. Which is which is
in a file of its own beside it, so that whoever judges cannot look it up by accident.
"""

import base64
import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from generation.work import border
from generation.work.comparisons import LOSS, TIE, WIN, Comparison
from generation.work.errors import FileRefused

Pictures = npt.NDArray[np.uint8]

TEMPLATES = Path(__file__).parent / "templates"
LEFT, RIGHT, TIED = "left", "right", "tie"
MAX_NAME = 64  # of a page; ours have 16 letters


class ResultsError(ValueError):
    """Answers cannot be counted; the message names the file and what to do."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One side of the comparison.

    Attributes:
        name: Kept out of the page.
        pictures: uint8 of shape (questions, height, width, 3), in the order of the prompts.
    """

    name: str
    pictures: Pictures


def write_page(
    first: Contender, second: Contender, prompts: Sequence[str], out: Path, seed: int = 0
) -> Path:
    """Write a page that needs nothing but a browser, and beside it the key that says who is who.

    Args:
        first: One checkpoint's pictures.
        second: The other's, of the same prompts and seeds.
        prompts: What each pair answers.
        out: Folder; gets `<page>.html` and `<page>.key.json`.
        seed: Of the lots that order the questions and choose the sides.

    Returns:
        The page.

    Raises:
        ValueError: The contenders have one name, or not one picture a prompt.
    """
    if first.name == second.name:
        raise ValueError(f"both checkpoints are called {first.name!r}; give one another name")
    if not len(prompts) == len(first.pictures) == len(second.pictures) > 0:
        raise ValueError(
            f"{len(prompts)} prompts, {len(first.pictures)} and {len(second.pictures)} pictures"
        )
    lots = np.random.default_rng(seed)
    questions, lefts = [], []
    for number in lots.permutation(len(prompts)):
        left, right = (first, second) if lots.random() < 0.5 else (second, first)
        lefts.append(left.name)
        questions.append(
            {
                "prompt": prompts[number],
                LEFT: _data_url(left.pictures[number]),
                RIGHT: _data_url(right.pictures[number]),
            }
        )
    page = hashlib.sha256(json.dumps([questions, lefts]).encode()).hexdigest()[:16]
    key = {"page": page, "names": [first.name, second.name], "lefts": lefts}
    out.mkdir(parents=True, exist_ok=True)
    _key_file(out, page).write_text(json.dumps(key, indent=1) + "\n", encoding="utf-8")
    path = out / f"{page}.html"
    path.write_text(_render(page, questions), encoding="utf-8")
    return path


def comparisons_in(results: Sequence[Path], keys: Path) -> list[Comparison]:
    """Return what people answered; a file that was saved twice counts once, as saved last.

    Args:
        results: Files saved by the pages.
        keys: Folder in which the pages were written.

    Raises:
        ResultsError: A file is not a page's, is damaged, or its key is not in the folder.
    """
    answers: dict[tuple[str, str], tuple[str, list[Comparison]]] = {}
    for path in results:
        saved = _read(path, "results")
        try:
            page, session, saved_at = str(saved["page"]), saved["session"], saved["saved_at"]
            compared = list(_compared(saved["choices"], _key_of(page, keys, path)))
            known = answers.get((page, session))
            if known is None or known[0] < saved_at:
                answers[page, session] = (saved_at, compared)
        except ResultsError:
            raise
        except (KeyError, TypeError, IndexError, ValueError) as error:
            raise ResultsError(f"{path} is damaged ({error!r}); have it saved again") from error
    return [comparison for _, compared in answers.values() for comparison in compared]


def _compared(choices: Sequence[dict[str, Any]], key: dict[str, Any]) -> Iterator[Comparison]:
    scores = {LEFT: WIN, RIGHT: LOSS, TIED: TIE}
    for number, answer in enumerate(choices):  # the page asks in its order and skips nothing
        left = key["lefts"][number]
        (right,) = (name for name in key["names"] if name != left)
        yield Comparison(left, right, scores[answer["choice"]])


def _key_of(page: str, keys: Path, answers: Path) -> dict[str, Any]:
    path = _key_file(keys, page)
    # The name comes from outside: it must not lead out of the folder.
    if not (page.isalnum() and len(page) <= MAX_NAME) or not path.exists():
        raise ResultsError(
            f"{answers} answers page {page!r}, whose key is not in {keys}; name the folder into"
            " which the page was written"
        )
    return _read(path, "key")


def _read(path: Path, what: str) -> dict[str, Any]:
    try:
        return border.json_of(path)
    except FileRefused as error:
        raise ResultsError(f"no {what}: {error}") from error


def _key_file(folder: Path, page: str) -> Path:
    return folder / f"{page}.key.json"


def _data_url(picture: Pictures) -> str:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def _render(page: str, questions: Sequence[dict[str, str]]) -> str:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template("human.html").render(page=page, questions=questions)
