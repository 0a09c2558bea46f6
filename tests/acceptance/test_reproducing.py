"""`atelier reproduce` draws from the record, and tells the same from the alike."""

import re
import sqlite3

from PIL import Image

from tests.acceptance.conftest import Terminal


def test_every_picture_of_a_job_reproduces_on_its_own(terminal: Terminal) -> None:
    drawn = terminal.imagine("a red apple", "--seed", "7", "--images", "4")
    assert [each["seed"] for each in drawn] == [7, 8, 9, 10]
    assert len({each["sha256"] for each in drawn}) == 4
    by_number = terminal.atelier("reproduce", str(drawn[1]["image_id"]))
    by_file = terminal.atelier("reproduce", drawn[1]["path"], "--out", "again.png")
    assert "identical" in by_number.stdout
    assert drawn[1]["sha256"] in by_file.stdout
    assert (terminal.folder / "again.png").read_bytes() == (
        terminal.folder / drawn[1]["path"]
    ).read_bytes()


def test_a_picture_that_comes_out_differently_is_told_apart(terminal: Terminal) -> None:
    (drawn,) = terminal.imagine("a red apple", "--seed", "7")
    # As if another machine had drawn it: one pixel and one line of the fingerprint differ.
    path = terminal.folder / drawn["path"]
    with Image.open(path) as picture:
        changed = picture.copy()
    changed.putpixel((0, 0), tuple(255 - value for value in changed.getpixel((0, 0))))
    changed.save(path)
    terminal.record_instead(path, numpy="1.0")
    said = terminal.atelier("reproduce", str(path), code=1).stdout
    assert "different: image 1" in said
    assert "numpy: 1.0 -> " in said
    assert re.search(r"largest difference \d+ of 255, mean 0\.\d+, PSNR \d+\.\d dB", said)


def test_a_picture_whose_file_was_written_otherwise_is_the_same_picture(terminal: Terminal) -> None:
    (drawn,) = terminal.imagine("a red apple", "--seed", "7")
    path = terminal.folder / drawn["path"]
    with Image.open(path) as picture:
        picture.save(path, compress_level=0)  # as another version of the encoder would
    with sqlite3.connect(terminal.record / "atelier.db") as connection:
        ((pixels,),) = connection.execute("SELECT pixels_sha256 FROM images").fetchall()
    connection.close()
    for recorded in (None, pixels):
        terminal.record_instead(path, recorded)
        said = terminal.atelier("reproduce", "1").stdout
        assert "identical: image 1" in said
        assert "only the encoding of the file differs" in said
    path.unlink()
    for file in terminal.record.glob("images/*/*"):
        file.unlink()
    assert "identical" in terminal.atelier("reproduce", "1").stdout  # the hash is enough
    terminal.imagine("another", "--seed", "7")
    with sqlite3.connect(terminal.record / "atelier.db") as connection:
        connection.execute("UPDATE images SET pixels_sha256 = ? WHERE id = 2", (pixels,))
    connection.close()
    assert "different: image 2" in terminal.atelier("reproduce", "2", code=1).stdout


def test_a_picture_is_redrawn_in_the_words_its_style_had_then(terminal: Terminal) -> None:
    (drawn,) = terminal.imagine("a red apple", "--seed", "7", "--style", "bold")
    with sqlite3.connect(terminal.record / "atelier.db") as connection:
        connection.execute(
            "UPDATE jobs SET request = json_set(request, '$.template', 'a {prompt} of then')"
        )
    connection.close()
    said = terminal.atelier("reproduce", drawn["path"], code=1).stdout
    assert "drawn with those of then, 'a {prompt} of then'; today they are '{prompt}, bold'" in said
