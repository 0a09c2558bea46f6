"""The blind page in headless Chromium: what whoever judges does with a keyboard, mouse or finger."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from generation.learning.assessment.human import Contender, comparisons_in, write_page
from generation.learning.metrics.preference import rank

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(
        not (shutil.which("chromium") and shutil.which("chromedriver")),
        reason="needs Chromium: make browser-deps",
    ),
]

PROMPTS = tuple(f'<b>thing</b> & "{number}"' for number in range(6))
DARK, LIGHT = 40, 200
WAIT_S = 20.0
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=900,900",
)


def plain(name: str, grey: int) -> Contender:
    return Contender(name, np.full((len(PROMPTS), 16, 16, 3), grey, np.uint8))


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return tmp_path / "pages"


@pytest.fixture
def driver(tmp_path: Path, keys: Path) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in (*FLAGS, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    folder = str(tmp_path / "downloads")
    options.add_experimental_option("prefs", {"download.default_directory": folder})
    page = write_page(plain("dark", DARK), plain("light", LIGHT), PROMPTS, keys, seed=4)
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        driver.get(page.as_uri())
        yield driver
    finally:
        driver.quit()


def side_of(driver: webdriver.Chrome, grey: int) -> str:
    """Return where the page shows a grey, as somebody sees it: by looking at the pixels."""
    script = """
        const canvas = document.createElement("canvas").getContext("2d");
        canvas.drawImage(document.querySelector("#left img"), 0, 0);
        return canvas.getImageData(8, 8, 1, 1).data[0];
    """
    return "left" if driver.execute_script(script) == grey else "right"


def press(driver: webdriver.Chrome, key: str) -> None:
    ActionChains(driver).send_keys(key).perform()


def progress(driver: webdriver.Chrome) -> int:
    return int(driver.find_element(By.ID, "progress").get_property("value"))


def downloaded(tmp_path: Path, driver: webdriver.Chrome) -> Path:
    def look(_: object) -> Path | None:
        return next((tmp_path / "downloads").glob("answers-*.json"), None)

    return WebDriverWait(driver, WAIT_S).until(look, message="the answers are saved")


def test_keys_choose_undo_and_tie_and_the_file_names_the_winner(
    driver: webdriver.Chrome, tmp_path: Path, keys: Path
) -> None:
    seen = []
    for number in range(len(PROMPTS)):
        seen.append(driver.find_element(By.ID, "prompt").text)
        is_left = side_of(driver, LIGHT) == "left"
        if number == 0:  # a slip, taken back
            press(driver, Keys.ARROW_RIGHT if is_left else Keys.ARROW_LEFT)
            assert progress(driver) == 1
            press(driver, Keys.BACKSPACE)
            assert driver.find_element(By.ID, "prompt").text == seen[0]
        if number == len(PROMPTS) - 1:
            press(driver, Keys.ARROW_DOWN)
        elif number % 2:
            press(driver, "1" if is_left else "2")
        else:
            press(driver, Keys.ARROW_LEFT if is_left else Keys.ARROW_RIGHT)
        assert progress(driver) == number + 1
    assert sorted(seen) == sorted(PROMPTS)
    press(driver, Keys.ENTER)  # the button to save has the focus
    results = downloaded(tmp_path, driver)
    choices = json.loads(results.read_text(encoding="utf-8"))["choices"]
    assert len(choices) == len(PROMPTS)
    assert choices[-1]["choice"] == "tie"
    assert all(0 < choice["seconds"] < WAIT_S for choice in choices)
    best, worst = rank(comparisons_in([results], keys)).standings
    assert (best.name, best.points, best.comparisons) == ("light", 5.5, 6)
    assert (worst.name, worst.points) == ("dark", 0.5)


def test_clicks_choose_too_and_a_part_of_the_answers_can_be_saved(
    driver: webdriver.Chrome, tmp_path: Path, keys: Path
) -> None:
    for _ in range(3):
        driver.find_element(By.ID, side_of(driver, DARK)).click()
    driver.find_element(By.ID, "undo").click()
    driver.find_element(By.ID, "save").click()
    best = rank(comparisons_in([downloaded(tmp_path, driver)], keys)).standings[0]
    assert (best.name, best.points, best.comparisons) == ("dark", 2, 2)


def test_a_held_key_is_one_answer_and_other_keys_are_none(driver: webdriver.Chrome) -> None:
    driver.execute_script(
        "for (const repeat of [false, true, true])"
        " dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowLeft', repeat}));"
    )
    for key in ("x", Keys.ARROW_UP, Keys.ESCAPE):
        press(driver, key)
    assert progress(driver) == 1


def test_the_page_does_not_say_who_is_who(driver: webdriver.Chrome) -> None:
    source = driver.page_source
    assert "dark" not in source.replace("light dark", "")
    assert "light" not in source.replace("light dark", "")
