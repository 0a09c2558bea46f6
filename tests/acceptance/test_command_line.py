"""`atelier` as its users start it: a process, its output, its exit code."""

import json
import re
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from tests.acceptance.conftest import Terminal, rows_of


def test_the_same_seed_twice_is_the_same_picture(terminal: Terminal) -> None:
    (first,) = terminal.imagine("a red apple", "--seed", "7", "--out", "A")
    (second,) = terminal.imagine("a red apple", "--seed", "7", "--out", "B")
    assert first["sha256"] == second["sha256"]
    assert (first["seed"], first["image_id"], second["image_id"]) == (7, 1, 2)
    with Image.open(terminal.folder / first["path"]) as picture:
        assert picture.size == (first["width"], first["height"])


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
    drawn = terminal.imagine("a red apple", "--seed", seed, "--images", "4", "--out", "B")
    # Neither being picked nor company changes a bit; redrawn, it is alone.
    assert best["sha256"] == drawn[0]["sha256"]
    assert "identical" in terminal.atelier("reproduce", str(best["image_id"])).stdout
