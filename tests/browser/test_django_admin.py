"""The admin of a real Django site in a real browser, under a strict Content-Security-Policy."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from easyimg.testing import images
from tests.browser.pages import follow
from tests.conftest import ROOT

pytestmark = pytest.mark.timeout(300)

SOURCES = "/admin/easyimg_django/source/"
PATIENCE = 30_000
"""Milliseconds for what a busy machine may take its time for."""

expect.set_options(timeout=PATIENCE)

WATCH = """
  window.violations = [];
  addEventListener('securitypolicyviolation', event => violations.push(event.violatedDirective));
"""


class Site:
    """A site in a process of its own."""

    def __init__(self, root: Path, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self.media = root / "media"
        self.url = f"http://127.0.0.1:{int(process.stdout.readline())}"

    def variants(self) -> list[str]:
        return sorted(path.name for path in (self.media / "img").iterdir())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    root = tmp_path_factory.mktemp("django")
    command = [sys.executable, "-m", "tests.browser.django_site", str(root)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (
        (root / "log").open("w") as log,
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True, env=environment) as process,
    ):
        try:
            yield Site(root, process)
        finally:
            process.terminate()


@pytest.fixture
def opened(site: Site, window: Any) -> Any:
    """Return a function that logs somebody in and opens a page."""

    def open_(path: str, name: str = "chief", **how: Any) -> Any:
        page = window(**how)
        page.add_init_script(WATCH)
        page.goto(f"{site.url}/admin/login/?next={path}")
        page.fill("#id_username", name)
        page.fill("#id_password", "secret")
        follow(page, "input[type=submit]")
        return page

    return open_


def shoot(page: Any, name: str) -> None:
    """Keep a screenshot, if somebody wants to look."""
    if folder := os.environ.get("TEST_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def loaded(page: Any, selector: str) -> int:
    """Return how many pictures the browser has really shown."""
    script = "all => all.filter(img => img.complete && img.naturalWidth > 0).length"
    return int(page.eval_on_selector_all(selector, script))


def thumbnails(page: Any, count: int, within: str = "") -> None:
    """Wait until a list, or a part of it, shows so many thumbnails: builders work meanwhile."""
    for _ in range(60):
        page.reload()
        page.wait_for_load_state("load")
        if loaded(page, f"{within} .easyimg-thumbnail img") == count:
            return
        page.wait_for_timeout(250)
    raise AssertionError(page.content())


def test_the_list_shows_thumbnails_of_what_is_no_ruin(site: Site, opened: Any) -> None:
    page = opened(SOURCES)
    thumbnails(page, 2)
    expect(page.locator("tr", has_text="torn.jpg").locator(".easyimg-absent")).to_have_text("no picture")
    expect(page.locator("tr", has_text="shoe.jpg")).to_contain_text("1500 × 1000 jpeg")
    assert page.evaluate("() => violations") == []
    shoot(page, "sources")


def test_a_click_on_the_picture_sets_the_focus_and_the_variants_are_built_again(site: Site, opened: Any) -> None:
    before = site.variants()
    page = opened(SOURCES)
    follow(page, "text=photos/shoe.jpg")
    frame = page.locator(".easyimg-frame")
    box = frame.bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.25, box["y"] + box["height"] * 0.75)
    assert float(page.input_value("[name=focus_x]")) == pytest.approx(0.25, abs=0.01)
    assert float(page.input_value("[name=focus_y]")) == pytest.approx(0.75, abs=0.01)
    shoot(page, "focus")
    follow(page, "[name=_continue]")
    expect(page.locator(".messagelist")).to_contain_text("was changed successfully")
    assert float(page.input_value("[name=focus_x]")) == pytest.approx(0.25, abs=0.01)
    assert page.evaluate("() => violations") == []
    for _ in range(80):
        if len(set(site.variants()) - set(before)) >= 3:
            break
        page.wait_for_timeout(250)
    assert len(set(site.variants()) - set(before)) >= 3, "new content, new names"


def test_the_focus_point_is_moved_and_dropped_by_keys(site: Site, opened: Any) -> None:
    page = opened(SOURCES)
    follow(page, "text=photos/hat.jpg")
    frame = page.get_by_role("slider", name="Focus point")
    expect(frame).to_have_attribute("aria-valuetext", "none: the centre")
    frame.focus()
    for key in ("ArrowLeft", "Shift+ArrowUp", "Shift+ArrowUp", "ArrowDown"):
        page.keyboard.press(key)
    assert (page.input_value("[name=focus_x]"), page.input_value("[name=focus_y]")) == ("0.49", "0.31")
    expect(frame).to_have_attribute("aria-valuetext", "49 % from the left, 31 % from the top")
    page.keyboard.press("Delete")
    assert (page.input_value("[name=focus_x]"), page.input_value("[name=focus_y]")) == ("", "")
    for _ in range(12):
        page.keyboard.press("Shift+ArrowRight")
    assert page.input_value("[name=focus_x]") == "1", "never outside"
    page.get_by_role("button", name="No focus point").click()
    assert page.input_value("[name=focus_x]") == ""
    page.fill("[name=focus_x]", "0.2")
    page.fill("[name=focus_y]", "0.9")
    assert frame.locator("circle").first.get_attribute("cy") == "90%"


def test_the_focus_point_can_be_set_without_scripts(site: Site, chromium: Any) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{site.url}/admin/login/?next={SOURCES}")
    page.fill("#id_username", "chief")
    page.fill("#id_password", "secret")
    follow(page, "input[type=submit]")
    follow(page, "text=photos/hat.jpg")
    page.fill("[name=focus_x]", "0.5")
    page.fill("[name=focus_y]", "0.1")
    follow(page, "[name=_continue]")
    expect(page.locator(".messagelist")).to_contain_text("was changed successfully")
    assert page.locator(".easyimg-mark circle").first.get_attribute("cy") == "10.00%"
    context.close()


def test_failed_variants_are_queued_by_an_action(site: Site, opened: Any) -> None:
    page = opened("/admin/easyimg_django/variant/?status=3")
    expect(page.locator("#result_list")).to_contain_text("SourceUnreadable")
    shoot(page, "variants")
    (site.media / "photos" / "torn.jpg").write_bytes(images.photo(400, 300, seed=8))
    page.check("#action-toggle")
    page.select_option("[name=action]", "requeue")
    follow(page, "button[name=index]")
    expect(page.locator(".messagelist")).to_contain_text(re.compile(r"\d+ variants are queued again"))
    page.goto(site.url + SOURCES)
    thumbnails(page, 3)
    assert page.evaluate("() => violations") == []


def test_a_source_is_deleted_with_its_files(site: Site, opened: Any) -> None:
    page = opened(SOURCES)
    thumbnails(page, 1, within="tr:has-text('hat.jpg')")
    before = site.variants()
    row = page.locator("tr", has_text="hat.jpg")
    row.locator("[name=_selected_action]").check()
    page.select_option("[name=action]", "delete_selected")
    follow(page, "button[name=index]")
    expect(page.locator("#content")).to_contain_text("The originals stay in their storage")
    shoot(page, "delete")
    follow(page, "#content input[type=submit]")
    expect(page.locator(".messagelist")).to_contain_text("Successfully deleted 1 source image.")
    expect(page.locator("#result_list")).not_to_contain_text("hat.jpg")
    assert len(site.variants()) < len(before)
    assert (site.media / "photos" / "hat.jpg").exists()


def test_a_chosen_upload_is_shown_before_it_is_sent_and_as_a_thumbnail_after(
    site: Site, opened: Any, tmp_path: Path
) -> None:
    (tmp_path / "new shoe.png").write_bytes(images.corners(400, 300, format="png"))
    page = opened("/admin/shop/product/add/")
    page.fill("[name=name]", "New")
    page.set_input_files("[name=photo]", tmp_path / "new shoe.png")
    chosen = page.locator(".field-photo .easyimg-chosen")
    expect(chosen).to_contain_text("Chosen: new shoe.png")
    expect(chosen).to_contain_text("(400 × 300)")
    corner = "canvas => [...canvas.getContext('2d').getImageData(3, 3, 1, 1).data.slice(0, 3)]"
    assert chosen.locator("canvas").evaluate(corner) == list(images.RED)
    shoot(page, "upload")
    follow(page, "[name=_continue]")
    expect(page.locator(".messagelist")).to_contain_text("was added successfully")
    page.wait_for_load_state("load")
    for _ in range(100):
        if loaded(page, ".field-photo .easyimg-stored img"):
            break
        page.wait_for_timeout(100)
    assert loaded(page, ".field-photo .easyimg-stored img") == 1
    assert page.evaluate("() => violations") == []
    shoot(page, "stored")
    page.set_input_files("[name=photo]", {"name": "x.pdf", "mimeType": "application/pdf", "buffer": b"%PDF"})
    follow(page, "[name=_continue]")
    expect(page.locator(".errorlist").first).to_contain_text("This picture cannot be used")


def test_who_may_only_look_finds_nothing_to_change(site: Site, opened: Any) -> None:
    page = opened(SOURCES, "viewer")
    expect(page.locator("[name=action]")).to_have_count(0)
    follow(page, "text=photos/shoe.jpg")
    expect(page.locator(".easyimg-large img")).to_be_visible()
    expect(page.locator("[name=focus_x], [name=_save], .deletelink")).to_have_count(0)
    shoot(page, "viewer")


def test_the_status_is_linked_and_legible(site: Site, opened: Any) -> None:
    page = opened(SOURCES)
    follow(page, ".easyimg-status-link")
    expect(page.locator("h1", has_text="Status")).to_be_visible()
    expect(page.locator("#content")).to_contain_text("oldest owed")
    assert page.evaluate("() => violations") == []
    shoot(page, "status")


@pytest.mark.parametrize("how", ["dark", "rtl", "phone"])
def test_pages_fit_dark_screens_phones_and_languages_from_right_to_left(site: Site, opened: Any, how: str) -> None:
    page = opened(SOURCES, width=390 if how == "phone" else 1280)
    if how == "dark":
        page.emulate_media(color_scheme="dark")
    if how == "rtl":
        page.context.add_cookies([{"name": "django_language", "value": "ar", "url": site.url}])
    page.reload()
    shoot(page, f"sources-{how}")
    follow(page, "td a:has-text('photos/shoe.jpg')")
    page.locator(".easyimg-frame img").evaluate("img => img.decode()")
    frame = page.locator(".easyimg-frame").bounding_box()
    assert frame["width"] > 150
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    page.mouse.click(frame["x"] + frame["width"] * 0.1, frame["y"] + frame["height"] * 0.5)
    assert float(page.input_value("[name=focus_x]")) == pytest.approx(0.1, abs=0.01), "from the left in every language"
    shoot(page, f"focus-{how}")
