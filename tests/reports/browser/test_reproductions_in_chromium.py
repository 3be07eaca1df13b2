"""The page of reproductions in a real browser, `make test-browser`: its verdicts can be read by
eye, keyboard and screen reader, and every number leads to its trials."""

import re
from itertools import pairwise

import pytest
from made_reproduction import LEFT_OUT, REPRODUCTION, VERDICTS, make_results
from playwright.sync_api import Page, expect

from recollect.cli.report import COMMANDS
from recollect.papers.reproduction import outcome
from recollect.reports.page.document import reproductions_document
from recollect.reports.page.reproduction_data import reproductions_data
from recollect.studies.store import Store

NARROW = {"width": 390, "height": 800}
TITLES = [claim.sentence for claim in REPRODUCTION.claims]


@pytest.fixture(scope="session")
def reproductions_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reproductions")
    make_results(folder / "made.db")
    with Store(folder / "made.db") as store:
        found = [outcome(REPRODUCTION, "laptop", store)] * 2
        data = reproductions_data(found, store, asked=["made-up"], remedies=COMMANDS)
    page = folder / "page.html"
    page.write_text(reproductions_document(data), encoding="utf-8")
    return page.as_uri()


def claims(page: Page):
    return page.get_by_role("table", name="Claims of made-up").first


def luminance(colour: str) -> float:
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [None, NARROW], ids=["wide", "narrow"])
def test_each_claim_is_a_row_with_its_verdict(open_file, reproductions_file, viewport, scheme):
    page = open_file(reproductions_file, viewport, scheme)
    for title, verdict in zip(TITLES, VERDICTS, strict=True):
        row = claims(page).get_by_role("row").filter(has_text=title)
        expect(row.get_by_role("cell", name=verdict, exact=True)).to_be_visible()
        colour, ground = (
            row.locator(".verdict").evaluate("mark => getComputedStyle(mark).color"),
            page.evaluate("getComputedStyle(document.body).backgroundColor"),
        )
        dark, light = sorted((luminance(colour), luminance(ground)))
        assert (light + 0.05) / (dark + 0.05) >= 4.5
    expect(claims(page).get_by_role("row").last).to_contain_text(f"Not judged: {LEFT_OUT}")
    width = page.evaluate("document.documentElement.clientWidth")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("main b, main i").count() == 0  # names are texts


def test_a_verdict_leads_to_its_trials_by_keyboard(open_file, reproductions_file):
    page = open_file(reproductions_file)
    button = claims(page).get_by_role("button", name=f"Trials behind: {TITLES[0]}")
    button.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name=TITLES[0])
    expect(dialog).to_be_visible()
    numbers = dialog.locator("summary")
    assert numbers.count() == 2
    assert "mqar-64x4: accuracy: 0.8" in numbers.first.inner_text()
    numbers.first.focus()
    page.keyboard.press("Enter")
    rows = dialog.locator("details").first.locator("tbody tr")
    assert rows.count() == 50
    assert rows.filter(has_text="*").count() == 10  # the chosen rate on each seed
    assert len(set(rows.locator("td:first-child").all_inner_texts())) == 50
    commands = dialog.locator("code").all_inner_texts()
    assert commands[-1].startswith("recollect reproduce made-up --scale laptop --decide --store ")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert button.evaluate("button => button === document.activeElement")


def test_headings_nest_and_links_lead_to_each_reproduction(open_file, reproductions_file):
    page = open_file(reproductions_file)
    levels = page.eval_on_selector_all(
        "main :is(h1,h2,h3,h4)", "all => all.map(h => +h.tagName[1])"
    )
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    links = page.get_by_role("navigation").get_by_role("link")
    assert [link.get_attribute("href") for link in links.all()] == [
        f"#{section.get_attribute('id')}" for section in page.locator(".reproduction").all()
    ]


def test_all_claims_are_filtered_by_verdict(open_file, reproductions_file):
    page = open_file(reproductions_file)
    page.get_by_role("searchbox").first.fill("undecided")
    rows = page.get_by_role("table", name="Claims", exact=True).locator("tbody tr")
    assert rows.count() == 2  # the reproduction is on the page twice
    rows.first.get_by_role("button").click()
    expect(page.get_by_role("dialog", name=TITLES[2])).to_be_visible()


def test_on_paper_the_verdicts_stay(open_file, reproductions_file):
    page = open_file(reproductions_file, scheme="dark")
    page.emulate_media(media="print")
    expect(claims(page).locator(".verdict").first).to_be_visible()
    expect(claims(page).get_by_role("listitem").first).to_contain_text("10 of 10 seeds")
    expect(claims(page).locator("button").first).to_be_hidden()
