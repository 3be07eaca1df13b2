import os
import shutil
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Page, expect, sync_playwright


@pytest.fixture(scope="session")
def browser():
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


@dataclass
class Heard:
    """What a page says and asks for."""

    problems: list = field(default_factory=list)
    requests: list = field(default_factory=list)


@pytest.fixture
def open_file(browser):
    """Opens a file; at the end nothing was said on the console, and nothing else was loaded."""
    heard, contexts, addresses = Heard(), [], set()

    def open_page(address, viewport=None, scheme="light") -> Page:
        size = viewport or {"width": 1300, "height": 900}
        contexts.append(browser.new_context(viewport=size, color_scheme=scheme))
        page = contexts[-1].new_page()
        page.on("console", lambda message: heard.problems.append(message.text))
        page.on("pageerror", lambda error: heard.problems.append(str(error)))
        page.on("dialog", lambda dialog: heard.problems.append(dialog.message))
        page.on("request", lambda request: heard.requests.append(request.url))
        page.goto(address)
        addresses.add(address)
        expect(page.locator(".plot svg").first).to_be_visible()
        return page

    yield open_page
    assert heard.problems == []
    assert {each for each in heard.requests if not each.startswith("data:")} == addresses
    for context in contexts:
        context.close()
