"""Say whose drawings a dataset holds and under which licence, as a page to hand on with it."""

from collections.abc import Sequence

from generation.learning.dataset.packages import Credit

LINKS = {
    "CC-BY-4.0": "https://creativecommons.org/licenses/by/4.0/",
    "CC-BY-SA-4.0": "https://creativecommons.org/licenses/by-sa/4.0/",
    "CC-PDDC": "https://creativecommons.org/licenses/publicdomain/",
    "CC0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
}
HEADER = """\
# Credits

The pictures of this dataset come from the sets below. Changes made to them: drawn at the dataset's
sizes; some put together or recoloured; in training also moved, scaled, turned, their colours
changed a little and put on plain backgrounds.
A model trained on them may repeat them closely: pass these credits on with it. CC-BY asks for its
authors' names and for a note of changes, CC-BY-SA also for the same licence on what is made from it.
"""
COLUMNS = ("Set", "Author", "Licence", "Package", "Look")


def page(makers: Sequence[Credit]) -> str:
    """Return CREDITS.md."""
    return f"{HEADER}\n{table(makers)}\n"


def table(makers: Sequence[Credit]) -> str:
    """Return the attribution table in Markdown, in the order given."""
    rows = [COLUMNS, ("---",) * len(COLUMNS), *(_row(credit) for credit in makers)]
    return "\n".join("|" + "|".join(f" {_escaped(cell)} " for cell in row) + "|" for row in rows)


def _row(credit: Credit) -> tuple[str, ...]:
    return (
        f"[{credit.title}]({credit.url})" if credit.url else credit.title,
        credit.author or "unknown",
        _linked(credit.licence) or "not stated",
        f"`{credit.package}` {credit.version}".rstrip(),
        f"`{credit.look}`",
    )


def _linked(licence: str) -> str:
    return f"[{licence}]({LINKS[licence]})" if licence in LINKS else licence


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ")
