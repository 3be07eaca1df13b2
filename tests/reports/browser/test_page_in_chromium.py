"""The report page in a real browser, `make test-browser`: it draws, sorts, filters, is worked by
keyboard, and asks for nothing beyond its file."""

from functools import partial
from threading import Thread

import pytest
from page_store import HOSTILE, NAME, made_study, make_store
from playwright.sync_api import Page, expect

from recollect.cli.report_page import page_data, page_stand
from recollect.reports.page.document import write_page
from recollect.reports.page.serve import PageSource, page_server
from recollect.studies.store import Store

WIDE, NARROW = {"width": 1300, "height": 900}, {"width": 390, "height": 800}


@pytest.fixture(scope="session")
def page_file(made, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_page(page_data([NAME], made), path)
    return path.as_uri()


@pytest.fixture
def opened(open_file, page_file):
    return partial(open_file, page_file)


def column(page: Page, table: str, heading: str) -> list[str]:
    headings = page.locator(f"table:has-text('{table}') thead th").all_inner_texts()
    place = [text.strip(" ▲▼") for text in headings].index(heading)
    cells = page.locator(f"table:has-text('{table}') tbody tr td:nth-child({place + 1})")
    return cells.all_inner_texts()


def test_all_panels_are_drawn_in_time(opened):
    page = opened()
    marks = "performance.getEntriesByName('recollect-drawn')"
    panels = page.locator(".plot").count()
    page.wait_for_function(f"{marks}.length === {panels}")
    assert panels == 2 + 4 + 4  # a task each; a task and a width each
    assert page.evaluate(f"{marks}[0].startTime") < 4000
    assert page.locator(".plot svg").count() == panels


def test_names_are_texts(opened):
    page = opened()
    assert page.locator("h1").inner_text() == NAME
    assert page.locator("label", has_text=HOSTILE).count() == 1
    assert page.locator("img").count() == 0


def test_a_table_sorts_by_numbers_and_by_words(opened):
    page = opened()
    button = page.get_by_role("button", name="d_model").first
    button.click()
    assert column(page, "Cells of", "d_model") == ["32"] * 6 + ["64"] * 6
    button.click()
    assert column(page, "Cells of", "d_model") == ["64"] * 6 + ["32"] * 6
    assert page.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"
    page.get_by_role("button", name="mixer", exact=True).first.click()
    mixers = column(page, "Cells of", "mixer")
    assert mixers == [HOSTILE] * 4 + ["Hyena"] * 4 + ["Mamba"] * 4


def test_what_is_missing_comes_last_either_way(opened):
    page = opened()
    button = page.get_by_role("button", name="window (decades)")
    for _ in range(2):
        button.click()
        assert column(page, "Cells of", "window (decades)")[-4:] == ["-"] * 4


def test_a_table_is_filtered_by_words_and_phrases(opened):
    page = opened()
    box = page.get_by_role("searchbox").last
    box.fill("mamba 128x8")
    rows = page.locator(".trials tbody tr")
    assert rows.count() == 20
    assert "20 of 120 rows" in page.locator(".trials .count").inner_text()
    box.fill('"mqar-64x4 mamba 1 64 "')
    assert rows.count() == 10


def test_a_mixer_and_a_task_are_taken_out_of_figures_and_tables(opened):
    page = opened()
    points = page.locator(".plot").first
    assert "6 points" in points.get_attribute("aria-label")
    page.get_by_label("Mamba", exact=True).uncheck()
    assert "4 points" in page.locator(".plot").first.get_attribute("aria-label")
    assert "Mamba" not in column(page, "Cells of", "mixer")
    page.get_by_role("checkbox", name="mqar-64x4").uncheck()
    assert page.locator(".plot").count() == 1 + 2 + 2
    assert set(column(page, "Cells of", "task")) == {"mqar-128x8"}


def test_axes_are_logarithmic_where_asked(opened):
    page = opened()

    def ticks() -> list[str]:
        panel = page.locator(".plot").first
        expect(panel.locator("svg")).to_be_visible()
        return panel.locator(".role-axis-label text").all_text_contents()

    linear = ticks()
    page.get_by_label("log y").first.check()
    assert ticks() != linear
    page.locator("label", has_text="Show").first.locator("select").select_option("loss")
    titles = page.locator(".plot").first.locator(".role-axis-title text")
    expect(titles.filter(has_text="test loss (nats)")).to_have_count(1)


def test_a_number_leads_to_its_trials_and_commands(opened, made):
    page = opened()
    page.get_by_role("button", name="Details of mqar-64x4 Mamba 1 64", exact=True).click()
    dialog = page.locator("dialog")
    expect(dialog).to_be_visible()
    assert dialog.locator("tbody tr").count() == 2  # the seeds at the chosen rate
    keys = dialog.locator("tbody tr td:last-child").all_inner_texts()
    with Store(made) as store:
        assert {store.config(key)["train"]["learning_rate"] for key in keys} == {10**-2.5}
    assert not {"null", "undefined", "NaN"} & set(dialog.inner_text().split())
    commands = dialog.locator("code").all_inner_texts()
    assert commands[0] == f"recollect show '{NAME}' --store {made} --trials"
    assert commands[1].endswith("--mixers mamba --tasks mqar-64x4 --widths 64 --depths 1")
    dialog.get_by_role("button", name="All trials of this cell").click()
    assert page.locator(".trials tbody tr").count() == 10


def test_points_are_reached_by_keyboard(opened):
    page = opened()
    panel = page.locator(".plot").first
    panel.focus()
    page.keyboard.press("ArrowRight")
    said = panel.locator("xpath=..").locator("output")
    assert HOSTILE in said.inner_text()
    page.keyboard.press("End")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_be_hidden()
    assert panel.evaluate("panel => panel === document.activeElement")


def test_a_point_is_opened_by_a_click(opened):
    page = opened()
    page.locator(".plot").first.locator(".mark-symbol path").first.click()
    expect(page.locator("dialog")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [WIDE, NARROW], ids=["wide", "narrow"])
def test_the_page_fits_in_both_themes(opened, scheme, viewport):
    page = opened(viewport, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (scheme == "light")
    other = "dark" if scheme == "light" else "light"
    page.get_by_label("Theme").select_option(other)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != ground


def test_on_paper_it_is_light_and_without_controls(opened):
    page = opened(scheme="dark")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    expect(page.locator(".controls").first).to_be_hidden()
    assert len(page.pdf()) > 10_000


def test_a_served_page_follows_its_study(browser, tmp_path):
    path = tmp_path / "running.db"
    make_store(path, made_study(widths=(32,)))
    server = page_server(PageSource(lambda: page_data([NAME], path), lambda: page_stand(path)), 0)
    Thread(target=server.serve_forever, daemon=True).start()
    page, problems = browser.new_context().new_page(), []
    page.on("console", lambda message: problems.append(message.text))
    try:
        page.goto(f"http://127.0.0.1:{server.server_address[1]}/")
        expect(page.locator("#status")).to_contain_text("6 of 6 cells finished, 60 trials")
        names = page.locator(".plot").first.locator(".role-axis-label text")  # one width: ranked
        expect(names.filter(has_text="Mamba")).to_have_count(1)
        assert names.all_text_contents()[-2:] == ["Mamba", "Hyena"]
        page.get_by_label("Mamba", exact=True).uncheck()
        make_store(path, made_study(widths=(32, 64)))
        expect(page.locator("#status")).to_contain_text("12 of 12 cells", timeout=20_000)
        assert len(column(page, "Cells of", "mixer")) == 8  # Mamba is left out as before
        assert problems == []
    finally:
        page.context.close()
        server.shutdown()
        server.server_close()
