"""The demo page in headless Chromium: what a visitor of the demo does with a mouse and a keyboard."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from selenium import webdriver
from selenium.common.exceptions import (
    ElementClickInterceptedException,
    ElementNotInteractableException,
    StaleElementReferenceException,
    TimeoutException,
)
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(
        not (shutil.which("chromium") and shutil.which("chromedriver")),
        reason="needs Chromium: make browser-deps",
    ),
]

WAIT_S = 60.0
SHORT_S = 5.0  # then the page is asked again
PASSED_OVER = (  # the page was redrawn under the hand
    ElementClickInterceptedException,
    ElementNotInteractableException,
    StaleElementReferenceException,
    TimeoutException,
)
T = TypeVar("T")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,900",
)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start the demo as its users do, drawing test patterns, and return the page's address."""
    folder = tmp_path_factory.mktemp("demo")
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "bot", "demo", "--out", str(folder)],
        env={**os.environ, "ATELIER_DEFAULT_MODEL": "pattern"},
        stdout=subprocess.PIPE,
        text=True,
    ) as demo:
        assert demo.stdout is not None
        said = []
        for line in demo.stdout:
            said.append(line)
            if found := re.search(r"http://127\.0\.0\.1:\d+/#\S+", line):
                yield found[0]
                break
        else:
            pytest.fail(f"no page: {''.join(said)}")
        demo.send_signal(signal.SIGINT)
        assert "The demo has ended." in demo.stdout.read()
    assert demo.returncode == 0


class Page:
    """What a person can do on the page."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self._driver = driver

    def until(self, look: Callable[[], T | None], what: str, timeout_s: float = WAIT_S) -> T:
        """Look until something is there; the page may be redrawn in between."""
        wait = WebDriverWait(
            self._driver,
            timeout_s,
            poll_frequency=0.1,
            ignored_exceptions=[StaleElementReferenceException],
        )
        return wait.until(lambda _: look(), message=what)

    def at_rest(self) -> None:
        """Wait until the page takes the next action; a hand is slower than this test."""
        script = "return Boolean(window.simcordPreview && window.simcordPreview.ready)"
        self.until(lambda: self._driver.execute_script(script) or None, "a page at rest")

    def be(self, name: str) -> None:
        """Look at the channel as somebody."""
        self.until(lambda: name in self._people() or None, name)
        self._do(
            lambda: self._viewer().select_by_visible_text(name),
            lambda: self._viewer().first_selected_option.text == name or None,
            f"the page of {name}",
        )

    def command(self, name: str, **required: str) -> None:
        """Run a slash command by typing it."""
        chip = (By.CSS_SELECTOR, "button.command-chip")

        def choose() -> None:
            composer = self.until(
                lambda: self._one(By.ID, "channel-composer-input"), "composer", SHORT_S
            )
            composer.send_keys(Keys.CONTROL + "a")
            composer.send_keys(f"/{name}")
            entry = f"//*[@role='option'][contains(., '/{name}')]"
            self.until(lambda: self._one(By.XPATH, entry), name, SHORT_S).click()

        def press_enter() -> None:
            self.until(lambda: self._one(*chip), "the chosen command", SHORT_S).send_keys(
                Keys.ENTER
            )

        self._do(choose, lambda: self._one(*chip), f"/{name}")
        for option, value in required.items():
            self._fill(f"input.command-option-input[data-option='{option}']", value)
        self._do(press_enter, lambda: self._one(*chip) is None or None, f"/{name} is sent")

    def say(self, text: str) -> None:
        """Type into the box at the bottom, key by key as a person does, and press Enter."""
        self._box().click()
        for key in (*text, Keys.ENTER):
            self._driver.switch_to.active_element.send_keys(key)

    def paste(self, text: str) -> None:
        """Put a text into the box at once, and press Enter."""
        self._box().click()
        self._driver.execute_cdp_cmd("Input.insertText", {"text": text})
        self._driver.switch_to.active_element.send_keys(Keys.ENTER)

    def complaint(self) -> str:
        """Return what the browser says about the words in the box."""
        return str(self._box().get_property("validationMessage"))

    def status(self) -> str:
        """Return what the top of the page says of the last action."""
        return self._driver.find_element(By.ID, "action-status").text

    def draft(self) -> str:
        """Return what is left in the box."""
        return str(self._box().get_property("value"))

    def is_in_sight(self, message: str) -> bool:
        """Return whether the lower end of a message can be seen."""
        script = """
          const [list] = document.getElementsByClassName("channel-timeline");
          const seen = list.getBoundingClientRect();
          const {bottom} = list.querySelector(arguments[0]).getBoundingClientRect();
          return seen.top < bottom && bottom <= seen.bottom + 1;"""
        article = f"article[data-message-id='{message}']"
        return bool(self._driver.execute_script(script, article))

    def message(self, *texts: str, pictures: int | None = None) -> str:
        """Wait for a message that shows these texts, and return its number."""
        what = f"a message with {texts} and {pictures} pictures"
        return self.until(lambda: self.find(*texts, pictures=pictures), what)

    def find(self, *texts: str, pictures: int | None = None) -> str | None:
        """Return the newest message that shows these texts and this many loaded pictures."""
        for article in reversed(self._driver.find_elements(By.CSS_SELECTOR, "article")):
            number = article.get_attribute("data-message-id")
            drawn = article.find_elements(By.CSS_SELECTOR, "img.gallery-image")
            fits = pictures is None or sum(map(_is_loaded, drawn)) == pictures
            if number and fits and all(text in article.text for text in texts):
                return number
        return None

    def press(self, message: str, label: str, then: Callable[[], object]) -> None:
        """Press a button of a message, until what it is for has happened."""
        article = f"//article[@data-message-id='{message}']"
        button = f"{article}//button[contains(@class, 'component-button')][contains(., '{label}')]"

        def click() -> None:
            self.until(lambda: self._one(By.XPATH, button), label, SHORT_S).click()

        self._do(click, then, label)

    def form(self) -> WebElement | None:
        """Return the open form."""
        return self._one(By.CSS_SELECTOR, "#modal-root form")

    def send_form(self, **values: str) -> None:
        """Fill in the open form and submit it."""
        for name, value in values.items():
            self._fill(f"#modal-root [name='{name}']", value)
        self._do(
            lambda: self._driver.find_element(By.CSS_SELECTOR, "#modal-root [type=submit]").click(),
            lambda: self.form() is None or None,
            "the form is sent",
        )

    def _fill(self, css: str, value: str) -> None:
        def type_in() -> None:
            field = self.until(lambda: self._one(By.CSS_SELECTOR, css), css, SHORT_S)
            field.send_keys(Keys.CONTROL + "a")
            field.send_keys(value)

        def is_there() -> bool | None:
            field = self._one(By.CSS_SELECTOR, css)
            return (field is not None and field.get_property("value") == value) or None

        self._do(type_in, is_there, f"{value!r} in {css}")

    def _do(self, act: Callable[[], None], done: Callable[[], object], what: str) -> None:
        """Act, again if the page was busy with itself and passed over it, until it is done."""
        for _ in range(10):
            self.at_rest()
            try:
                act()
                self.until(done, what, timeout_s=SHORT_S)
            except PASSED_OVER:
                continue
            return
        pytest.fail(f"never happened: {what}")

    def _box(self) -> WebElement:
        return self.until(lambda: self._one(By.ID, "channel-composer-input"), "the box")

    def _viewer(self) -> Select:
        return Select(self._driver.find_element(By.ID, "viewer-picker"))

    def _people(self) -> list[str]:
        return [option.text for option in self._viewer().options]

    def _one(self, by: str, what: str) -> WebElement | None:
        found = self._driver.find_elements(by, what)
        return found[0] if found and found[0].is_displayed() else None


def _is_loaded(picture: WebElement) -> bool:
    return int(picture.get_property("naturalWidth") or 0) > 0


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    profile = tmp_path_factory.mktemp("profile")
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture
def page(driver: webdriver.Chrome, address: str, tmp_path: Path) -> Iterator[Page]:
    driver.get("about:blank")
    driver.get(address)
    yield Page(driver)
    driver.save_screenshot(str(tmp_path / "page.png"))  # for whoever looks into a failure


def test_a_visitor_draws_votes_remixes_and_moderates(page: Page) -> None:
    page.be("Ada")
    page.command("imagine", prompt="a paper boat")
    boat = page.message("a paper boat", pictures=4)

    page.be("Bo")
    page.press(boat, "1 · 0", lambda: page.find("a paper boat", "1 · 1"))
    page.press(boat, "Remix", page.form)
    page.send_form(prompt="a paper plane")
    plane = page.message("a paper plane", "@Bo", pictures=4)
    assert plane != boat

    page.be("Mo")
    page.command("log search")
    found = page.message("found, newest first")
    page.press(found, "Open", lambda: page.find("a paper plane", "Take down"))  # the newest
    record = page.message("a paper plane", "Take down")
    page.press(record, "Take down", page.form)
    page.send_form(reason="only a test")

    page.be("Ada")
    assert page.message("taken these pictures down", pictures=0) == plane
    assert page.message("a paper boat", "1 · 1", pictures=4) == boat


def test_a_command_in_one_go_is_drawn_and_its_pictures_are_in_sight(page: Page) -> None:
    page.be("Ada")
    page.say("/imagine a fox in a teacup")
    typed = page.message("a fox in a teacup", pictures=4)
    page.until(lambda: page.is_in_sight(typed), "the answer to what was typed")
    page.paste("/imagine prompt: an owl in a boot")
    pasted = page.message("an owl in a boot", pictures=4)
    page.until(lambda: page.is_in_sight(pasted), "the answer to what was pasted")
    assert not page.find("/imagine prompt")
    page.say("/help")
    page.message("Only you can see this", "/imagine")


def test_a_mistake_gets_a_friendly_answer_in_sight(page: Page) -> None:
    page.be("Bo")
    page.say("/imagine a fox --aspect 3:2:1")
    answer = page.message("Only you can see this", "--aspect")
    page.until(lambda: page.is_in_sight(answer), "the answer")
    page.until(lambda: page.status() == "Action completed", "no alarm")
    assert page.draft() == ""


def test_a_command_that_does_not_exist_is_not_said_in_the_channel(page: Page) -> None:
    page.be("Mo")
    page.say("/imagin a fox")
    page.until(page.complaint, "a hint")
    assert "no such command" in page.complaint()
    assert page.draft() == "/imagin a fox"
    assert page.find("/imagin a fox") is None
