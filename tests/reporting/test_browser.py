"""The page of a report in a real browser: tables, runs, keyboard, phone, dark, and without scripts."""

from __future__ import annotations

import re

import pytest

from gli.reporting import write_report
from gli.reporting.page import environment
from gli.runs.read import read_run
from tests.helpers.run_folders import RunFolders


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    make_run = RunFolders(tmp_path_factory.mktemp("runs"))
    return [read_run(make_run(method, seed)) for method in ("GLI", "LI", "Retrained") for seed in (0, 1)]


@pytest.fixture(scope="module")
def address(runs, tmp_path_factory):
    output = tmp_path_factory.mktemp("report")
    write_report(runs, output, resamples=2)
    return (output / "report.html").as_uri()


def column(page, number):
    """Return the visible cells of a column of the table of runs."""
    return page.locator(f"#runs tbody tr:visible > :nth-child({number})").all_inner_texts()


def test_a_heading_sorts_the_best_first_then_the_worst_then_as_written(open_page):
    page = open_page()
    head = page.locator("#runs thead th", has_text="test accuracy")
    written = column(page, 4)
    numbers = [float(cell.split()[0]) for cell in written]
    for state, expected in (("descending", sorted(numbers, reverse=True)), ("ascending", sorted(numbers))):
        head.get_by_role("button").click()
        assert head.get_attribute("aria-sort") == state
        assert [float(cell.split()[0]) for cell in column(page, 4)] == expected
    page.locator("#runs thead th", has_text="method").get_by_role("button").click()
    assert column(page, 1) == sorted(column(page, 1))
    assert page.locator("#runs [aria-sort]").count() == 1
    for _ in range(2):
        page.locator("#runs thead th", has_text="method").get_by_role("button").click()
    assert column(page, 4) == written
    assert page.locator("#runs [aria-sort]").count() == 0


def test_a_filter_leaves_the_rows_with_all_its_words_and_says_how_many(open_page):
    page = open_page()
    field = page.get_by_role("searchbox", name="Filter the rows: Runs")
    field.fill("Trained retrained-1")
    assert column(page, 1) == ["Retrained"]
    assert page.get_by_text("1 of 8 rows").is_visible()
    field.fill("")
    assert len(column(page, 1)) == 8


def point_at(page, label, tap=False):
    box = page.locator(f'.point[aria-label^="{label}"]').bounding_box()
    pointer = page.touchscreen.tap if tap else page.mouse.move
    pointer(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


def test_pointing_at_a_run_shows_its_numbers_and_its_folder(open_page, runs):
    page = open_page()
    assert page.locator("#explorer .point").count() == 8
    page.locator("#explorer figure").scroll_into_view_if_needed()
    point_at(page, "Retrained, seed 1")
    said = page.locator("output").inner_text()
    (run,) = [run for run in runs if (run.method, run.seed) == ("Retrained", 1)]
    assert said.startswith("Retrained, seed 1, iteration 6: test accuracy")
    assert said.endswith(str(run.folder))
    marked = page.locator("#runs tr.marked")
    assert marked.count() == 1
    assert str(run.folder) in marked.inner_text()
    point_at(page, "GLI, seed 0")  # The made-up scores of LI are the same, so that it is covered.
    assert [line.partition(",")[0] for line in page.locator("output").inner_text().splitlines()] == ["GLI", "LI"]


def test_chosen_runs_are_those_of_the_figure_the_means_and_the_table(open_page, runs):
    page = open_page()
    rows = page.locator("#chosen tbody tr")
    before = page.locator("#chosen tbody").inner_text()
    assert rows.count() == 4
    assert re.search(r"GLI\s+2\s+0\.\d{3} ± 0\.\d{3}", before)
    page.get_by_role("checkbox", name="GLI, seed 0").uncheck()
    assert page.locator(".point:visible").count() == 7
    assert len(column(page, 1)) == 7
    box = page.locator(".group", has_text="GLI").locator("input").first
    assert box.evaluate("box => box.indeterminate")
    (single,) = [result.split("\t") for result in rows.all_inner_texts() if result.startswith("GLI")]
    (run,) = [run for run in runs if (run.method, run.seed) == ("GLI", 1)]
    assert single[1] == "1"
    assert single[2] in {f"{row['accuracy']:.3f}" for row in run.rows}
    page.get_by_role("button", name="No run").click()
    assert page.locator(".point:visible").count() == rows.count() == len(column(page, 1)) == 0
    page.get_by_role("button", name="All runs").click()
    assert page.locator("#chosen tbody").inner_text() == before


def test_the_means_are_those_of_the_table_of_methods(open_page):
    page = open_page()
    for method in ("Original", "Retrained", "GLI", "LI"):
        heading = page.get_by_role("rowheader", name=method, exact=True)
        row = page.locator("table").first.locator("tbody tr", has=heading)
        mean = page.locator("#chosen tbody tr", has=heading)
        shown = mean.locator("td").all_inner_texts()[1:]
        assert shown == row.locator("td").all_inner_texts()[: len(shown)]


def test_everything_is_reached_with_the_keyboard_and_shows_the_focus(open_page):
    page = open_page()
    page.locator("#runs thead button").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("#runs th[aria-sort=ascending]").count() == 1
    page.get_by_role("button", name="No run").focus()
    page.keyboard.press("Tab")  # The figure is one stop.
    label = "document.activeElement.getAttribute('aria-label')"
    seen = [page.evaluate(label)]
    assert seen[0] in page.locator("output").inner_text()
    for _ in range(7):
        page.keyboard.press("ArrowRight")
        seen.append(page.evaluate(label))
    assert len(set(seen)) == 8
    page.keyboard.press("Home")
    assert page.evaluate(label) == seen[0]
    page.keyboard.press("Escape")
    assert page.locator(".marked").count() == 0
    page.keyboard.press("Tab")
    assert page.evaluate(label) == "Means of the chosen runs"
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert page.evaluate(outline) == "solid"


def test_a_phone_scrolls_tables_but_not_the_page(open_page):
    page = open_page(390, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator("#runs").evaluate("table => table.scrollWidth > 390")
    page.locator("#explorer figure").scroll_into_view_if_needed()
    point_at(page, "Retrained, seed 0", tap=True)
    assert page.locator("output").inner_text().startswith("Retrained, seed 0")


def test_dark_and_light_follow_the_system(open_page):
    brightness = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).reduce((sum, x) => sum + +x, 0)"
    assert open_page(color_scheme="dark").evaluate(brightness) < 100
    assert open_page(color_scheme="light").evaluate(brightness) > 700


def test_text_of_figures_can_be_read_in_both_themes(open_page):
    fill = "text => getComputedStyle(text).fill.match(/\\d+/g).reduce((sum, x) => sum + +x, 0)"
    for scheme, readable in (("dark", lambda light: light > 600), ("light", lambda light: light < 150)):
        texts = open_page(color_scheme=scheme).locator("figure svg text")
        assert texts.count() > 20
        assert all(readable(text.evaluate(fill)) for text in texts.all()[:40])


def test_without_scripts_the_tables_and_figures_are_there(open_page):
    page = open_page(java_script_enabled=False)
    assert page.get_by_role("button").count() == page.locator("input").count() == 0
    assert page.locator("#runs tbody tr").count() == 8
    assert page.locator("figure svg").count() == 5
    assert page.get_by_role("img", name="Test accuracy against forgetting score").is_visible()


def test_a_run_name_in_the_data_is_text_and_not_markup(browser, tmp_path):
    make_run = RunFolders(tmp_path / "</script><img src=x onerror=document.title='run'>")
    write_report([read_run(make_run(seed=seed)) for seed in (0, 1)], tmp_path / "out")
    page = browser.new_page()
    page.goto((tmp_path / "out/report.html").as_uri())
    assert page.locator("img").count() == 0
    assert "unlearning" in page.title()
    assert page.locator(".point").count() == 4
    page.close()


def test_numbers_with_commas_empty_cells_and_pictures(open_page, tmp_path):
    rows = [("1,024",), ("",), ("9",), ("-",), ("200",)]
    cells = "".join(f"<tr><td>{value}</td><td><img alt='' src='data:image/gif;base64,R0lGODlhAQABAAAAACw='></td></tr>"
                    for (value,) in rows)  # fmt: skip
    head = "<thead><tr><th>size</th><th></th></tr></thead>"
    path = tmp_path / "page.html"
    table = f'<div class="wide"><table id="runs">{head}<tbody>{cells}</tbody></table></div>'
    template = f"{{% extends 'document.html.j2' %}}{{% block body %}}{table}{{% endblock %}}"
    path.write_text(environment().from_string(template).render(title="x"))
    page = open_page(where=path.as_uri())
    page.get_by_role("button").click()
    assert column(page, 1) == ["9", "200", "1,024", "", "-"]
    page.get_by_role("button").click()
    assert column(page, 1) == ["1,024", "200", "9", "", "-"]
