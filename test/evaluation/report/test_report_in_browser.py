"""The report as people use it: opened in a headless Chromium without a network."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("jinja2", reason="of the extra 'report'")
pytest.importorskip("plotly", reason="of the extra 'report'")
pytest.importorskip("markdown_it", reason="of the extra 'report'")
pytest.importorskip("playwright.sync_api", reason="drives the browser")

from playwright import sync_api
from report_content import HOSTILE, report

from lowlight_enhance.evaluation.report.page import write_page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")

SWITCHES = ("sandbox", "first-run"), ("gpu", "quic", "background-networking", "component-update", "sync")
OPTIONS = [f"--{word}-{name}" for word, names in zip(("no", "disable"), SWITCHES, strict=True) for name in names]
DEADLINE_MS = 120_000
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@dataclass
class Opened:
    """A page with its requests and errors."""

    page: Any
    asked: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_page(report(title=HOSTILE), path)
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser with an empty temporary profile."""
    with sync_api.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS, timeout=DEADLINE_MS)
        yield chromium
        chromium.close()


def until(page: Any, expression: str, argument: Any = None) -> None:
    """Wait until a condition holds. Playwright's wait_for_function uses eval, which the policy of the page forbids."""
    deadline = time.monotonic() + DEADLINE_MS / 1000
    while not page.evaluate(expression, argument):
        assert time.monotonic() < deadline, f"not within the deadline: {expression}"
        page.wait_for_timeout(20)


def opened(browser: Any, file: Path, **how: Any) -> Opened:
    context = browser.new_context(**({"viewport": DESKTOP, "color_scheme": "light"} | how))
    context.set_default_timeout(DEADLINE_MS)
    found = Opened(context.new_page())
    found.page.on("console", lambda m: found.errors.append(m.text) if m.type in ("error", "warning") else None)
    found.page.on("pageerror", lambda error: found.errors.append(str(error)))
    found.page.on("request", lambda request: found.asked.append(request.url))
    found.page.goto(file.as_uri())
    found.page.locator(".plot").first.scroll_into_view_if_needed()
    until(found.page, "document.querySelector('.plot')._fullLayout !== undefined")
    return found


@pytest.fixture(scope="module")
def desktop(browser: Any, file: Path) -> Iterator[Opened]:
    """One page for all tests, which restore its colour scheme and medium."""
    found = opened(browser, file)
    yield found
    found.page.context.close()


def split(page: Any) -> str:
    """Return the position of the line in the first sample, as the browser draws it."""
    clip: str = page.locator(".compare img.left").first.evaluate("image => getComputedStyle(image).clipPath")
    return clip


def test_it_opens_without_errors_and_requests(desktop: Opened, file: Path) -> None:
    assert desktop.errors == []
    assert [url for url in desktop.asked if not url.startswith("data:")] == [file.as_uri()]
    assert HOSTILE in desktop.page.title(), "a script in the name of a topic has not run"
    assert desktop.page.locator("h1").inner_text() == HOSTILE
    for picture in desktop.page.locator(".compare img").all():
        assert picture.evaluate("image => image.complete && image.naturalWidth > 0")
        assert picture.get_attribute("alt")


def test_other_scripts_do_not_run(desktop: Opened) -> None:
    with desktop.page.expect_console_message() as refusal:
        desktop.page.evaluate("""() => {
            const script = document.createElement("script");
            script.textContent = "window.foreign = true";
            document.body.append(script);
        }""")
    assert "Content Security Policy" in refusal.value.text
    assert desktop.page.evaluate("window.foreign") is None
    desktop.errors.clear()


def test_the_line_between_the_images_is_dragged(desktop: Opened) -> None:
    page = desktop.page
    slider = page.locator(".compare input").first
    slider.fill("50")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    before, middle = split(page), box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, middle, steps=4)
    page.mouse.up()
    assert slider.input_value() == "25"
    assert split(page) != before
    page.mouse.move(box["x"], middle)
    assert slider.input_value() == "25", "a mouse that is not pressed moves nothing"
    assert desktop.errors == []


def test_the_line_follows_the_keys_and_has_a_text_for_screen_readers(desktop: Opened) -> None:
    slider = desktop.page.locator(".compare input").first
    slider.fill("50")
    before = split(desktop.page)
    slider.focus()
    slider.press("ArrowLeft")
    slider.press("ArrowLeft")
    assert slider.input_value() == "48"
    assert split(desktop.page) != before
    assert slider.get_attribute("aria-valuetext") == "input 48 %, output 52 %"
    assert slider.get_attribute("aria-label")


def test_the_reference_can_be_chosen(desktop: Opened) -> None:
    sample = desktop.page.locator(".sample").first
    sample.get_by_text("output | reference").click()
    shown = sample.locator("img").evaluate_all("images => images.map((i) => [i.dataset.is, i.className])")
    assert dict(shown) == {"input": "", "output": "left", "reference": "right"}
    assert sample.locator(".tag").all_inner_texts() == ["output", "reference"]


def test_a_plot_is_zoomed_and_reset(desktop: Opened) -> None:
    page = desktop.page
    plot = page.locator(".plot").first
    plot.scroll_into_view_if_needed()
    box = plot.locator(".nsewdrag").first.bounding_box()

    def limits() -> list[float]:
        found: list[float] = plot.evaluate("plot => plot._fullLayout.xaxis.range")
        return found

    low, high = limits()
    for share, action in ((0.25, page.mouse.down), (0.5, page.mouse.up)):
        page.mouse.move(box["x"] + box["width"] * share, box["y"] + box["height"] / 2, steps=4)
        action()
    until(page, "low => document.querySelector('.plot')._fullLayout.xaxis.range[0] > low", low)
    assert limits()[1] - limits()[0] < 0.4 * (high - low)
    page.mouse.dblclick(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    until(page, "high => document.querySelector('.plot')._fullLayout.xaxis.range[1] >= high", high)
    assert desktop.errors == []


def test_it_fits_a_phone_and_follows_touch(browser: Any, file: Path) -> None:
    phone = opened(browser, file, viewport=PHONE, has_touch=True, is_mobile=True)
    page = phone.page
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    slider = page.locator(".compare input").first
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] * 0.75, box["y"] + box["height"] / 2)
    assert int(slider.input_value()) == pytest.approx(75, abs=2)
    assert page.locator(".plot").first.evaluate("plot => plot._fullLayout.dragmode") is False
    assert phone.errors == []
    page.context.close()


def test_plots_are_drawn_when_scrolled_near_and_for_print(browser: Any, file: Path) -> None:
    narrow = opened(browser, file, viewport=PHONE)
    page, all_drawn = narrow.page, "[...document.querySelectorAll('.plot')].every((plot) => plot._fullLayout)"
    assert not page.evaluate(all_drawn)
    page.locator(".plot").last.scroll_into_view_if_needed()
    until(page, "[...document.querySelectorAll('.plot')].at(-1)._fullLayout !== undefined")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(all_drawn)
    assert page.evaluate("document.querySelector('details').open"), "the model card is printed as well"
    assert narrow.errors == []
    page.context.close()


def test_colours_follow_the_scheme(desktop: Opened) -> None:
    def colours() -> list[str]:
        body = desktop.page.evaluate("getComputedStyle(document.body).backgroundColor")
        return [body, desktop.page.locator(".plot").first.evaluate("plot => plot.data[1].line.color")]

    light = colours()
    desktop.page.emulate_media(color_scheme="dark")
    until(desktop.page, "light => document.querySelector('.plot').data[1].line.color !== light", light[1])
    assert colours()[0] != light[0]
    desktop.page.emulate_media(color_scheme="light")
    assert desktop.errors == []


def test_both_images_are_printed(desktop: Opened) -> None:
    desktop.page.emulate_media(media="print")
    left, right = (desktop.page.locator(f".compare img.{side}").first for side in ("left", "right"))
    clip, boxes = split(desktop.page), [side.bounding_box() for side in (left, right)]
    desktop.page.emulate_media(media="screen")
    assert clip == "none"
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"] + 1
