"""The planner's page in a real browser; screenshots are left in ``out/screenshots``."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import echolith as el
from echolith.validation.bounds import bound_summary
from tests.validation.planner_serving import Planner, served

api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((found for name in NAMES if (found := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the path")
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SCREENSHOTS = Path(os.environ.get("ECHOLITH_SCREENSHOTS", "out/screenshots"))
PATIENCE = 60e3
"""Milliseconds for what is computed."""


@dataclass
class Seen:
    """A page, and all that it asked for and complained of."""

    page: Any
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def type(self, place: str, text: str) -> None:
        """Type into a field, its group opened first."""
        input_ = self.page.locator(f'[id="{place}"]')
        group = self.page.locator("details").filter(has=input_)
        if group.count() and not input_.is_visible():
            group.locator("summary").click()
        input_.fill(text)

    def wrong(self, place: str) -> Any:
        """Return where the mistake of a field is told."""
        return self.page.locator(f'[id="wrong-{place}"]')

    def spread(self, quantity: str) -> Any:
        """Return where the bound of a quantity is shown."""
        return self.page.locator("#bounds tbody tr").filter(has_text=quantity).locator("td").first

    def known(self) -> None:
        """Wait until nothing is computed."""
        api.expect(self.page.locator("#bounds[aria-busy=false]")).to_be_visible(timeout=PATIENCE)
        api.expect(self.page.locator("#state-bound")).to_be_empty(timeout=PATIENCE)

    def shot(self, name: str) -> None:
        """Keep a picture of the page at both sizes; nothing is wider than the window."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        for width, height in ((1024, 768), (1280, 800)):
            self.page.set_viewport_size({"width": width, "height": height})
            wide = self.page.evaluate("document.documentElement.scrollWidth")
            self.page.screenshot(path=SCREENSHOTS / f"planner-{name}-{width}.png")
            assert wide <= width


@pytest.fixture(scope="module")
def planner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planner]:
    with served(tmp_path_factory.mktemp("planner")) as serving:
        yield serving


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield chromium
        chromium.close()


@pytest.fixture
def seen(browser: Any, planner: Planner) -> Iterator[Seen]:
    """A page on a small scenario; whatever a test does, it leaves the machine and the log alone."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, accept_downloads=True)
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=planner.address)
    watched = Seen(context.new_page())
    watched.page.on("request", lambda request: watched.requests.append(request.url))
    watched.page.on("pageerror", lambda error: watched.complaints.append(str(error)))
    watched.page.on("console", lambda said: watched.complaints.append(said.text))
    watched.page.goto(f"{planner.address}/#li-hrtem")
    watched.type("settings.offset", "2")
    watched.type("settings.particle.size", "20")
    watched.type("settings.acquisition.shape", "[96, 96]")
    watched.known()
    yield watched
    own = (planner.address, "data:", f"blob:{planner.address}")
    assert [url for url in watched.requests if not url.startswith(own)] == []
    # A refused request is what a mistake comes to; the browser notes it.
    assert [text for text in watched.complaints if "422" not in text] == []
    context.close()


def bounds_of(*, strain: float = 0.01, **acquisition: Any) -> dict[str, float]:
    """Return what ``echolith bound`` prints."""
    made = el.scenario(
        "li-hrtem",
        particle={"size": 20.0},
        offset=2.0,
        strain=strain,
        acquisition={"shape": (96, 96), **acquisition},
    )
    return {name: row["value"] for name, row in bound_summary(made)["bounds"].items()}


def shown(value: float) -> str:
    """Return a value as the page writes it."""
    return f"{value:.3g}".rstrip("0").rstrip(".")


def test_what_is_typed_is_answered_with_the_bound_of_the_command_line(seen: Seen) -> None:
    seen.type("settings.strain", "0.005")
    seen.type("settings.acquisition.focal_spread", "25")
    seen.type("settings.acquisition.dose_rate", "2500")
    for name, value in bounds_of(strain=0.005, focal_spread=25, dose_rate=2500).items():
        api.expect(seen.spread(name)).to_have_text(shown(value), timeout=PATIENCE)
    seen.page.get_by_label("Find a setting").fill("objective")
    api.expect(seen.page.locator('[id="settings.strain"]')).to_be_hidden()
    api.expect(seen.page.locator('[id="settings.acquisition.semiangle"]')).to_be_visible()


def test_a_mistake_is_told_at_its_field_until_it_is_mended(seen: Seen) -> None:
    seen.type("settings.strain", "0.5")
    seen.type("target.spacing", "much")
    api.expect(seen.wrong("settings.strain")).to_contain_text("less than or equal to 0.02")
    api.expect(seen.wrong("target.spacing")).to_contain_text("is not name=number")
    field_ = seen.page.locator('[id="settings.strain"]')
    api.expect(field_).to_have_attribute("aria-invalid", "true")
    assert "wrong-settings.strain" in field_.get_attribute("aria-describedby")
    seen.shot("mistakes")
    seen.page.locator("#plan").click()
    api.expect(field_).to_be_focused()
    seen.type("settings.strain", "0.01")
    seen.type("target.spacing", "0.05")
    api.expect(seen.wrong("settings.strain")).to_be_empty()
    api.expect(seen.wrong("target.spacing")).to_be_empty()


def test_an_older_answer_never_replaces_a_newer_one(seen: Seen) -> None:
    held: list[Any] = []

    def hold_the_first(route: Any) -> None:
        if held or '"1234"' not in (route.request.post_data or ""):
            route.continue_()
            return
        held.append((route, route.fetch()))

    seen.page.route("**/api/bound", hold_the_first)
    seen.type("settings.acquisition.dose_rate", "1234")
    with seen.page.expect_response("**/api/bound"):
        while not held:
            seen.page.wait_for_timeout(20)
        seen.type("settings.acquisition.dose_rate", "4000")
    newer = shown(bounds_of(dose_rate=4000)["spacing"])
    api.expect(seen.spread("spacing")).to_have_text(newer)
    route, answer = held[0]
    with seen.page.expect_response("**/api/bound"):
        route.fulfill(response=answer)
    seen.page.wait_for_timeout(200)
    api.expect(seen.spread("spacing")).to_have_text(newer)


def test_a_plan_is_made_with_the_keyboard_alone(seen: Seen, tmp_path: Path) -> None:
    page = seen.page

    def tab_to(place: str) -> None:
        for _ in range(120):
            page.keyboard.press("Tab")
            if page.locator(f'[id="{place}"]:focus').count():
                return
        raise AssertionError(f"{place} is not reached")

    page.locator("#scenario").focus()
    tab_to("slider.acquisition.dose_rate")
    before = seen.spread("spacing").inner_text()
    page.keyboard.press("ArrowRight")
    api.expect(seen.spread("spacing")).not_to_have_text(before)
    tab_to("target.spacing")
    page.keyboard.type("0.01")
    tab_to("budget.dose")
    page.keyboard.type("1e9")
    tab_to("plan")
    page.keyboard.press("Enter")
    api.expect(page.locator("#planned .verdict")).to_contain_text("dose_rate", timeout=PATIENCE)
    dots = page.locator("#planned .dot")
    page.keyboard.press("Tab")
    api.expect(dots.first).to_be_focused()
    api.expect(page.locator("#planned figcaption")).to_contain_text("spread / allowed")
    seen.shot("plan")
    page.get_by_text("Copy as command").focus()
    page.keyboard.press("Enter")
    api.expect(page.locator("#state-plan")).to_contain_text("copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == page.locator("#command").inner_text()
    assert copied.startswith("echolith plan li-hrtem --over acquisition.dose_rate=")
    with page.expect_download() as download:
        page.get_by_text("Download plan").press("Enter")
    download.value.save_as(tmp_path / "plan.json")
    assert '"verdict"' in (tmp_path / "plan.json").read_text(encoding="utf-8")


def test_a_preview_is_drawn(seen: Seen) -> None:
    seen.page.locator("#scenario").select_option("lfp-xas")
    seen.type("settings.pixels", "48")
    seen.type("settings.plates", "2")
    seen.page.locator("#preview").click()
    api.expect(seen.page.locator("#previewed svg").first).to_be_visible(timeout=PATIENCE)
    seen.page.locator("#preview").scroll_into_view_if_needed()
    seen.shot("preview")
