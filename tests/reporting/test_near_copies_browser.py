"""The page of near-copies in a real browser: decide by click and by keyboard, phone, dark, and without scripts."""

from __future__ import annotations

import shlex

import numpy as np
import pytest

from gli.data.near_copies import NearCopy
from gli.reporting.page import write_near_copies_page

NAMES = np.array(["anna", "anna", "ben", "carl", "dora"])
FILES = ["anna/1.jpg", "anna/2.jpg", "ben/a holiday's.jpg", "carl/1.jpg", "dora/1.jpg"]
#: Ben's picture looks like both of anna's; dora's was decided before.
PAIRS = [NearCopy(3, 0, 2, True), NearCopy(9, 1, 2, False), NearCopy(20, 0, 3, False), NearCopy(21, 1, 4, False)]
COMMAND = "gli erase add --store store"


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    path = tmp_path_factory.mktemp("copies") / "page.html"
    pixels = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    decisions = {(1, 4): "keep"}
    write_near_copies_page(path, PAIRS, pixels, NAMES, files=FILES, decisions=decisions, command=COMMAND)
    return path.as_uri()


def command_of(page) -> list[str]:
    return shlex.split(page.locator("#command pre").inner_text())


def test_a_click_decides_and_the_page_writes_the_command(open_page):
    page = open_page()
    assert command_of(page) == []
    ben = page.get_by_role("group", name="Decision on ben/a holiday's.jpg")
    assert ben.count() == 2
    ben.first.get_by_text("accept").click()
    assert ben.last.get_by_role("radio", name="accept").is_checked()  # One file, one decision.
    page.get_by_role("group", name="Decision on carl/1.jpg").get_by_text("keep").click()
    assert command_of(page) == [*shlex.split(COMMAND), "--accept", "ben/a holiday's.jpg", "--keep", "carl/1.jpg"]
    assert page.get_by_text("2 of 2 copies decided").is_visible()
    ben.last.get_by_text("open").click()
    assert command_of(page) == [*shlex.split(COMMAND), "--keep", "carl/1.jpg"]


def test_pairs_are_sorted_and_filtered_also_by_what_was_chosen(open_page):
    page = open_page()
    page.get_by_role("group", name="Decision on carl/1.jpg").get_by_text("accept").click()
    field = page.get_by_role("searchbox")
    for words, pairs in (("accept", ["3"]), ("keep", ["4"]), ("open", ["1", "2"]), ("ben mirrored", [])):
        field.fill(words)
        assert page.locator("tbody tr:visible > :first-child").all_inner_texts() == pairs
    field.fill("")
    page.get_by_role("button", name="different bits").click()
    page.get_by_role("button", name="different bits").click()
    assert page.locator("tbody tr > :first-child").all_inner_texts() == ["4", "3", "2", "1"]
    assert command_of(page)[-1] == "carl/1.jpg"


def test_the_keyboard_alone_decides(open_page):
    page = open_page()
    page.get_by_role("button", name="decision").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    assert command_of(page)[-2:] == ["--accept", "ben/a holiday's.jpg"]
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    page.keyboard.press("ArrowDown")
    assert command_of(page)[-2:] == ["--keep", "ben/a holiday's.jpg"]
    page.keyboard.press("Tab")  # A choice is one stop: the next pair.
    assert page.evaluate("document.activeElement.name") == "decision-1"


def test_a_phone_scrolls_the_pairs_but_not_the_page(open_page):
    page = open_page(390, has_touch=True)
    page.get_by_role("group", name="Decision on carl/1.jpg").get_by_text("accept").tap()
    assert command_of(page)[-1] == "carl/1.jpg"
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator("table").evaluate("table => table.scrollWidth > table.parentElement.clientWidth")


def test_dark_and_light_follow_the_system(open_page):
    brightness = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).reduce((sum, x) => sum + +x, 0)"
    assert open_page(color_scheme="dark").evaluate(brightness) < 100
    assert open_page(color_scheme="light").evaluate(brightness) > 700


def test_without_scripts_the_pairs_are_there_and_how_to_decide(open_page):
    page = open_page(java_script_enabled=False)
    assert page.locator("tbody tr").count() == 4
    assert page.locator("tbody img").evaluate_all("images => images.filter(x => x.naturalWidth).length") == 8
    assert [row.split()[-1] for row in page.locator("tbody tr").all_inner_texts()] == ["open", "open", "open", "keep"]
    assert page.get_by_text(f"Write: {COMMAND} --accept FILE (or --keep FILE).").is_visible()
    assert not page.locator("#command").is_visible()
    assert page.locator("input, button").count() == 0
