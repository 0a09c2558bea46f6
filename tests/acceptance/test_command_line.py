"""`atelier` as its users start it: a process, its output, its exit code."""

import csv
import hashlib
import io
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image


class Terminal:
    """A folder of one's own, and settings in the environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        own = {name: v for name, v in os.environ.items() if not name.startswith("ATELIER_")}
        own.pop("DISCORD_TOKEN", None)
        root = str(Path(__file__).parents[2])
        self.environment = {
            **own,
            "ATELIER_DEFAULT_MODEL": "pattern",
            "PYTHONPATH": root,
            "XDG_DATA_HOME": str(folder / "home"),
        }
        self.record = folder / "home" / "atelier"

    def atelier(
        self, *arguments: str, code: int = 0, standing_in: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a command and check its exit code."""
        done = subprocess.run(
            [sys.executable, "-m", "bot", *arguments],
            cwd=self.folder / standing_in,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == code, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done

    def record_instead(self, path: Path, pixels: str | None = None, **engine: str) -> None:
        """Make a file the record's only picture, drawn by an engine that differs in some fields.

        Args:
            path: The file.
            pixels: Its pixels' hash; a record of before there were such has none.
            engine: Fields of the fingerprint that differ.
        """
        content = path.read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        place = self.record / "images" / sha256[:2]
        place.mkdir(exist_ok=True)
        (place / f"{sha256}.png").write_bytes(content)
        with sqlite3.connect(self.record / "atelier.db") as connection:
            connection.execute("UPDATE images SET sha256 = ?, pixels_sha256 = ?", (sha256, pixels))
            for name, value in engine.items():
                connection.execute(
                    "UPDATE jobs SET fingerprint = json_set(fingerprint, '$.' || ?, ?)",
                    (name, value),
                )
        connection.close()

    def imagine(self, *arguments: str) -> list[dict[str, Any]]:
        """Draw, and return what was said about each picture."""
        return [
            json.loads(x) for x in self.atelier("imagine", *arguments, "--json").stdout.splitlines()
        ]


def rows_of(done: subprocess.CompletedProcess[str]) -> list[dict[str, str]]:
    """Return the rows of a table, which begins with the mark that says UTF-8 to spreadsheets."""
    assert done.stdout.startswith("\ufeff")
    return list(csv.DictReader(io.StringIO(done.stdout[1:])))


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    return Terminal(tmp_path)


def test_the_same_seed_twice_is_the_same_picture(terminal: Terminal) -> None:
    (first,) = terminal.imagine("a red apple", "--seed", "7", "--out", "A")
    (second,) = terminal.imagine("a red apple", "--seed", "7", "--out", "B")
    assert first["sha256"] == second["sha256"]
    assert (first["seed"], first["image_id"], second["image_id"]) == (7, 1, 2)
    with Image.open(terminal.folder / first["path"]) as picture:
        assert picture.size == (first["width"], first["height"])


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


def test_two_commands_in_two_folders_share_one_record(terminal: Terminal) -> None:
    (terminal.folder / "A").mkdir()
    (terminal.folder / "B").mkdir()
    terminal.atelier("imagine", "a red apple", standing_in="A")
    assert "a red apple" in terminal.atelier("log", "--format", "csv", standing_in="B").stdout
    assert sorted(path.name for path in terminal.folder.iterdir()) == ["A", "B", "home"]
    # As an earlier version left it, where one stood.
    terminal.record.rename(terminal.folder / "B" / "data")
    here = terminal.atelier("log", "--format", "csv", standing_in="B")
    assert "a red apple" in here.stdout
    assert f"using the record in {terminal.folder / 'B' / 'data'}" in here.stderr
    assert "a red apple" not in terminal.atelier("log", standing_in="A").stdout


def test_an_unknown_picture_is_a_wrong_input(terminal: Terminal) -> None:
    (terminal.folder / "x.png").write_bytes(b"nothing of ours")
    assert "not in the record" in terminal.atelier("reproduce", "x.png", code=2).stderr
    assert "no image 99" in terminal.atelier("reproduce", "99", code=2).stderr
    assert "neither a file" in terminal.atelier("reproduce", "nowhere.png", code=2).stderr


def test_flags_in_the_prompt_work_as_in_discord(terminal: Terminal) -> None:
    (drawn,) = terminal.imagine("a red apple --ar 2:1 --seed 5 --style bold --no leaves")
    assert drawn["seed"] == 5
    assert drawn["width"] > 1.5 * drawn["height"]
    (row,) = rows_of(terminal.atelier("log", "--format", "csv"))
    assert (row["prompt"], row["negative_prompt"], row["style"]) == (
        "a red apple",
        "leaves",
        "bold",
    )


def test_what_the_model_cannot_honour_is_said_on_standard_error(terminal: Terminal) -> None:
    done = terminal.atelier("imagine", "a red apple --tile", "--json")
    assert len(done.stdout.splitlines()) == 1
    assert "tile" in done.stderr


def test_a_picture_can_be_the_start_of_another(terminal: Terminal) -> None:
    (first,) = terminal.imagine("a red apple", "--seed", "7")
    (second,) = terminal.imagine("a blue apple", "--seed", "7", "--image", first["path"])
    (without,) = terminal.imagine("a blue apple", "--seed", "7")
    assert second["sha256"] != without["sha256"]
    assert "identical" in terminal.atelier("reproduce", str(second["image_id"])).stdout


def test_permutations_draw_every_job_and_many_are_asked_about(terminal: Terminal) -> None:
    assert len(terminal.imagine("a {red, green} {apple, pear}")) == 4
    refused = terminal.atelier("imagine", "a {red, green, blue} {apple, pear}", code=2)
    assert "asks for 6 jobs; add --yes" in refused.stderr
    prompts, sheet = terminal.folder / "prompts.txt", terminal.folder / "sheet.png"
    prompts.write_text("# fruit\na {red, green, blue} apple\n\na pear --style {plain, bold}\n")
    assert len(terminal.imagine("--file", str(prompts), "--sheet", str(sheet))) == 5
    with Image.open(sheet) as picture:
        assert picture.width > 5 * 128


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["   "], "The prompt is empty"),
        (["a {red"], "never closed"),
        (["x" * 6000], "longer than 2,000 characters"),
        (["a fox --seed 7", "--seed", "8"], "given twice"),
        (["a fox", "--style", "nope"], "no style of that name"),
        (["a fox", "--model", "nope"], "no model of that name"),
        (["a fox --ar 9:1"], "from 1:3 to 3:1"),
        (["a fox --seed 99999999999"], "from 0 to 4294967295"),
        (["https://example.com/a.png a fox"], "--image FILE"),
        (["a fox", "--image", "text.png"], "not a picture"),
        (["a fox", "--images", "99"], "--images"),
        (["a fox", "--nonsense"], "--nonsense"),
        (["a fox", "--file", "text.png"], "not both"),
        (["--file", "latin-1.txt"], "latin-1.txt is not UTF-8 (line 2)"),
        (["a {fox --ar 1:2, owl}", "--sheet", "s.png"], "differ in size"),
        (["a fox", "--sheet", "s"], "end its name in .png"),
        (["a fox", "--out", "text.png"], "is a file, not a folder"),
    ],
)
def test_wrong_input_is_one_clear_answer(
    terminal: Terminal, arguments: list[str], said: str
) -> None:
    (terminal.folder / "text.png").write_text("no picture")
    (terminal.folder / "latin-1.txt").write_bytes("a fox\nein Füchslein".encode("latin-1"))
    done = terminal.atelier("imagine", *arguments, code=2)
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not done.stdout


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_drawing_that_is_stopped_leaves_no_job_that_a_bot_would_take_up(
    terminal: Terminal, name: str
) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "bot", "imagine", "a fox --r 40", "--images", "8", "--yes"],
        cwd=terminal.folder,
        env=terminal.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as drawing:
        assert drawing.stdout is not None
        drawing.stdout.readline()  # the first picture
        drawing.send_signal(getattr(signal, name))
        _, said = drawing.communicate(timeout=60)
    assert drawing.returncode == 3
    assert "atelier: stopped" in said
    rows = rows_of(terminal.atelier("log", "--format", "csv", "--limit", "99"))
    states = Counter(row["state"] for row in rows)
    assert states.keys() <= {"posted", "cancelled"}
    assert states["cancelled"] > 20


def test_a_closed_standard_output_is_no_fault(terminal: Terminal) -> None:
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m bot log --format csv >&-"],
        cwd=terminal.folder,
        env=terminal.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_any_script_comes_out_as_it_was_typed(terminal: Terminal) -> None:
    prompts = [
        "白い猫が窓辺で眠る",
        "می‌خواهم یک روباه",
        "လှသို့မြန်မာ",
        "हिन्दी लोमड़ी",
        "🦊 ein Füchslein",
    ]
    (terminal.folder / "prompts.txt").write_text("\n".join(prompts), encoding="utf-8")
    terminal.imagine("--file", "prompts.txt")
    rows = rows_of(terminal.atelier("log", "--format", "csv"))
    assert [row["prompt"] for row in rows] == prompts[::-1]
    lines = terminal.atelier("log", "--format", "jsonl").stdout.splitlines()
    assert [json.loads(line)["job"]["typed"] for line in lines] == prompts[::-1]
    assert "白い猫が窓辺で眠る" in terminal.atelier("log").stdout


def test_the_log_is_a_table_json_lines_or_csv(terminal: Terminal) -> None:
    terminal.imagine("=1+1 a red [bold]apple")
    terminal.imagine("a green pear")
    table = terminal.atelier("log").stdout
    assert re.search(r"1\s+│.*terminal.*posted", table)
    (line,) = terminal.atelier("log", "--format", "jsonl", "--text", "app").stdout.splitlines()
    record = json.loads(line)
    assert record["job"]["typed"] == "=1+1 a red [bold]apple"
    assert record["job"]["state"] == "posted"
    assert len(record["images"]) == 1
    rows = rows_of(terminal.atelier("log", "--format", "csv"))
    assert [row["prompt"] for row in rows] == ["a green pear", "'=1+1 a red [bold]apple"]
    assert terminal.atelier("log", "--format", "jsonl", "--limit", "1").stdout.count("\n") == 1
    assert not terminal.atelier("log", "--format", "jsonl", "--state", "failed").stdout
    assert "a green pear" in terminal.atelier("log", "--since", "yesterday").stdout
    assert "span" in terminal.atelier("log", "--since", "tomorrow", code=2).stderr
    assert "--member" in terminal.atelier("log", "--member", "9" * 30, code=2).stderr
    nothing = terminal.atelier("log", "--text", "zebra")
    assert (nothing.stdout, nothing.stderr) == ("", "nothing found\n")


def test_a_misspelt_setting_stops_every_command(terminal: Terminal) -> None:
    (terminal.folder / "atelier.toml").write_text("treads = 2")
    assert "did you mean 'threads'" in terminal.atelier("log", code=2).stderr
    assert "did you mean 'threads'" in terminal.atelier("doctor", code=1).stdout.replace("\n", " ")


def test_run_without_a_token_says_where_it_comes_from(terminal: Terminal) -> None:
    assert "DISCORD_TOKEN" in terminal.atelier("run", code=2).stderr


def test_a_record_of_a_newer_version_is_left_alone(terminal: Terminal) -> None:
    terminal.imagine("a red apple")
    with sqlite3.connect(terminal.record / "atelier.db") as connection:
        connection.execute("PRAGMA user_version = 999")
    connection.close()
    assert "newer" in terminal.atelier("log", code=3).stderr
    assert "newer" in terminal.atelier("doctor", "--quick", code=1).stdout


def test_the_doctor_only_looks_at_an_old_record(terminal: Terminal) -> None:
    terminal.record.mkdir(mode=0o700, parents=True)
    path = terminal.record / "atelier.db"
    with sqlite3.connect(path) as connection:
        connection.executescript("CREATE TABLE jobs (id); PRAGMA user_version = 1")
    connection.close()
    before = path.read_bytes()
    terminal.environment["COLUMNS"] = "400"  # a line a row
    said = terminal.atelier("doctor", "--quick", code=1).stdout  # 1: no bot is running
    assert re.search(r"database\s+│ ok .*schema version 1; the next start makes it", said)
    assert path.read_bytes() == before
    assert [each.name for each in terminal.record.iterdir()] == ["atelier.db"]


def test_the_doctor_finds_everything_well(terminal: Terminal) -> None:
    terminal.environment["DISCORD_TOKEN"] = "a-secret-that-nobody-sees"  # noqa: S105
    done = terminal.atelier("doctor")
    for check in ("settings", "data folder", "text encoder", "device", "worker"):
        assert re.search(rf"{check}\s+│ ok", done.stdout), check
    assert "a-secret" not in done.stdout + done.stderr


def test_the_doctor_names_a_checkpoint_that_was_changed(terminal: Terminal) -> None:
    folder = terminal.folder / "broken"
    folder.mkdir()
    (folder / "weights.safetensors").write_bytes(b"other")
    (terminal.folder / "atelier.toml").write_text(
        f'[[models]]\nname = "broken"\nfolder = "{folder}"\n'
        f'[models.sha256]\n"weights.safetensors" = "{"0" * 64}"\n'
    )
    said = terminal.atelier("doctor", code=1).stdout
    assert re.search(r"model broken\s+│ FAILED", said)
    assert "fetch its files again" in said


def test_the_doctor_names_what_each_checkpoint_lacks_and_the_remedy(terminal: Terminal) -> None:
    pickled = terminal.folder / "pickled"
    (pickled / "unet").mkdir(parents=True)
    (pickled / "unet/config.json").write_text("{}")
    (pickled / "unet/diffusion_pytorch_model.bin").touch()
    (pickled / "model_index.json").write_text('{"unet": ["diffusers", "UNet2DConditionModel"]}')
    (terminal.folder / "one.safetensors").touch()
    (terminal.folder / "atelier.toml").write_text(
        '[[models]]\nname = "big"\nhub_id = "nobody/nothing"\nrevision = "' + "0" * 40 + '"\n'
        '[[models]]\nname = "pickled"\nfolder = "pickled"\n'
        '[[models]]\nname = "one"\nfolder = "one.safetensors"\n'
    )
    terminal.environment["COLUMNS"] = "400"  # a line a row
    done = terminal.atelier("doctor", "--model", "pickled", "--online", code=1)
    said = " ".join(done.stdout.replace("│", " ").split())
    assert re.search(r"model big\s+- .*not fetched yet", said)
    assert "atelier models fetch big" in said
    assert re.search(r"model pickled\s+FAILED .*pickle", said)
    assert re.search(r"model one\s+FAILED .*one file", said)
    assert re.search(r"worker\s+ok\s+pattern", said)
    assert re.search(r"worker\s+FAILED\s+pickled", said)
    assert re.search(r"online\s+FAILED\s+not tried", said)
    assert re.search(r"database\s+-\s+none yet", said)
    assert not terminal.record.exists()  # it only looked
    refused = terminal.atelier("imagine", "a fox --model big", code=3).stderr
    assert refused.endswith("not fetched yet: atelier models fetch big\n")
    assert len(refused.splitlines()) == 1


def test_the_doctor_names_a_data_folder_that_others_can_read(terminal: Terminal) -> None:
    terminal.record.mkdir(mode=0o755, parents=True)
    said = terminal.atelier("doctor", code=1).stdout
    assert re.search(r"data folder\s+│ FAILED", said)
    assert "chmod 700" in said


def test_a_health_check_wants_a_fresh_heartbeat(terminal: Terminal) -> None:
    assert "never seen" in terminal.atelier("doctor", "--quick", code=1).stdout
    heartbeat = terminal.record / "heartbeat"
    heartbeat.parent.mkdir(mode=0o700, parents=True)
    heartbeat.touch()
    terminal.atelier("doctor", "--quick")
    os.utime(heartbeat, (1, 1))
    assert "restart the bot" in terminal.atelier("doctor", "--quick", code=1).stdout


def test_help_is_quick_and_names_every_command() -> None:
    code = (
        "import sys, bot.__main__\n"
        "heavy = {'torch', 'diffusers', 'transformers', 'simcord'} & sys.modules.keys()\n"
        "assert not heavy, heavy"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)


def test_every_command_explains_itself(terminal: Terminal) -> None:
    commands = ["run", "demo", "imagine", "reproduce", "log", "train", "doctor", "data"]
    overview = terminal.atelier("--help").stdout
    assert all(f"│ {command} " in overview for command in commands)
    assert "Exit codes" in overview


def test_the_demo_plays_its_scene_and_keeps_what_was_drawn(terminal: Terminal) -> None:
    done = terminal.atelier("demo", "--scene-only")
    assert "Bo upvotes the second picture" in done.stdout
    pictures = sorted((terminal.folder / "demo/pictures").glob("*.png"))
    assert len(pictures) == 8
    for path in pictures:
        with Image.open(path) as picture:
            picture.load()
    transcript = (terminal.folder / "demo/transcript.md").read_text()
    assert "[2 · 1]" in transcript  # the vote counts
    assert "moderators' log" in transcript
    assert not terminal.record.exists()  # the operator's record is not touched


@pytest.mark.slow
def test_the_embedded_checkpoint_draws_and_reproduces(terminal: Terminal) -> None:
    terminal.environment["ATELIER_DEFAULT_MODEL"] = "atelier-emoji"
    terminal.environment["OMP_NUM_THREADS"] = "1"
    (best,) = terminal.imagine("a red apple", "--out", "A")  # of four
    seed = str(best["seed"])
    (alone,) = terminal.imagine("a red apple", "--seed", seed, "--out", "B")
    drawn = terminal.imagine("a red apple", "--seed", seed, "--images", "4", "--out", "C")
    # Neither being picked nor company changes a bit.
    assert best["sha256"] == alone["sha256"] == drawn[0]["sha256"]
    assert "identical" in terminal.atelier("reproduce", str(best["image_id"])).stdout
