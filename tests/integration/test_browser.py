"""Reports in a real browser: nothing is fetched, nothing fails, all can be seen and reached.

Debian's ``chromium`` and the package ``playwright``; neither is fetched here.
"""

import hashlib
import json
import shutil

import pytest

from mecheval_jax.files import read_table
from mecheval_jax.reporting.html import report
from mecheval_jax.study.agreement import agreement
from mecheval_jax.study.cells import StudyCells
from mecheval_jax.study.findings.every import FINDINGS
from mecheval_jax.study.judgement import judge
from mecheval_jax.study.page import Conclusion, html
from mecheval_jax.sweeps.run import collect
from tests.support.choices import add_choice
from tests.support.reported_runs import CONFIG, make_run
from tests.support.study_world import world
from tests.support.sweep_results import ACCURACIES, ATTENTION, VERDICTS, make_sweep

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
SWITCHES = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)
EVIL = (
    *("<script>window.evil=1</script>", "</script><img/src=x/onerror=window.evil=1>"),
    *("{{7*7}}", "=1+1", "\x1b[31mred", "\"'`${window.evil=1}", "]]>", "&lt;b&gt;"),
)
"""Tokens of documents that are anything but text somewhere."""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium")


def documents(folder):
    """A file whose documents hold all evil tokens, and ask for one of them."""
    lines = []
    for number in range(60):
        value = EVIL[number % len(EVIL)]
        text = f"n{number} {' '.join(EVIL)} B7 {value} . B7"
        key, end = text.index("B7"), len(text)
        query = {"query": [end - 2, end], "answer": value, "key": [key, key + 2]}
        query |= {"value": [key + 3, key + 3 + len(value)]}
        lines.append(json.dumps({"text": text, "queries": [query]}))
    path = folder / "evil.jsonl"
    path.write_text("\n".join(lines))
    return path


def study_page(path):
    """The page of a study with a few findings, at one width."""
    rows = world()
    rows = rows[(rows["task"] == "AR") & (rows["width"] == 64)]
    cells = StudyCells(rows)
    judged = judge(cells, FINDINGS[:3])
    path.write_text(html(Conclusion("a test", rows, judged, agreement(cells), [], {}), []))
    return path


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A sweep with a choice, several runs of two tasks, one of evil documents, and a study."""
    home = tmp_path_factory.mktemp("reports")
    sweep = make_sweep(
        home / "sweep", ACCURACIES, unfinished=["based"], diverged={4: 7}, verdicts=VERDICTS
    )
    make_run(sweep.group(ATTENTION).member(5))
    add_choice(sweep.path)
    collect(sweep)
    runs = [make_run(home / name, verdict) for name, verdict in
            (("one", "induction"), ("two <b>", "mixed"), ("evil", "mixed"))]  # fmt: skip
    evil = documents(home)
    # With its hash a folder may name a file that lies outside it.
    task = {"name": "documents", "path": str(evil), "tokenizer": "whitespace"}
    task["sha256"] = hashlib.sha256(evil.read_bytes()).hexdigest()
    config = CONFIG | {"task": task, "model": CONFIG["model"] | {"max_length": 64}}
    config["training"] = CONFIG["training"] | {"evaluation_documents": 4}
    config["evaluation"] = CONFIG["evaluation"] | {"documents": 4}
    config["evaluation"]["roles"] = ["key", "value", "query"]
    (runs[2] / "config.json").write_text(json.dumps(config))
    report.write([str(run) for run in runs], str(home / "runs"))
    reports = {"sweep": sweep.report, "runs": home / "runs" / "report.html"}
    return reports | {"run": report.write([str(runs[0])]), "study": study_page(home / "study.html")}


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=list(SWITCHES))
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, pages):
    """A function that opens a page as somebody sees it; complaints and requests are errors."""
    contexts, wrong = [], []

    def opened(name, width=1100, **options):
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        address = pages[name].as_uri()
        page.on("request", lambda one: one.url == address or wrong.append(one.url))
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []


def rows_of(page, table):
    """Texts of the rows of a table that can be seen."""
    found = page.locator(f"table[data-table={table}] tbody tr:visible")
    return [row.split("\t") for row in found.all_inner_texts()]


def tab_to(page, selector):
    """Press Tab until something has the focus."""
    for _ in range(400):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"no way to {selector} by the keyboard")


@pytest.mark.parametrize("name", ["sweep", "runs"])
def test_every_figure_is_seen(visit, name):
    """Catches a figure that is empty or out of sight, and one that has no words."""
    page = visit(name)
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    figures = page.locator("figure svg")
    assert figures.count() >= 4
    for figure in figures.all():
        box = figure.bounding_box()
        assert box["width"] > 300
        assert box["height"] > 100
        assert figure.get_attribute("aria-label")


def test_a_table_is_sorted_and_filtered_with_the_mouse(visit, pages):
    """Catches numbers sorted as texts, a missing number before the others, and a dead filter."""
    page = visit("sweep")
    written = read_table(pages["sweep"].parent / "tables" / "members.csv")
    page.get_by_role("table", name="All members").get_by_role("button", name="accuracy").click()
    accuracy = page.locator("table[data-table=members] tbody tr td:nth-last-child(2)")
    numbers = [float(cell.get_attribute("data-v")) for cell in accuracy.all()]
    assert numbers == sorted(written["accuracy"])  # and those of the file, digit by digit
    page.get_by_role("table", name="All members").get_by_role("button", name="accuracy").click()
    numbers = [float(cell.get_attribute("data-v")) for cell in accuracy.all()]
    assert numbers == sorted(written["accuracy"], reverse=True)
    page.locator("label:has(+ .scroll table[data-table=members]) input").fill("mamba 0.01")
    assert {row[0] for row in rows_of(page, "members")} == {"mamba, width 16, 2 layers"}
    assert len(rows_of(page, "members")) == 2


def test_all_of_it_by_the_keyboard(visit):
    """Catches a button, a field or a mark that only a mouse reaches."""
    page = visit("sweep")
    tab_to(page, "[data-pick^=attention]")
    page.keyboard.press("Space")
    assert {row[0] for row in rows_of(page, "members")} == {"mamba, width 16, 2 layers"}
    page.keyboard.press("Space")
    assert len(rows_of(page, "members")) == 10
    tab_to(page, "figure")
    page.keyboard.press("ArrowRight")
    first = page.locator("#tip").inner_text()
    page.keyboard.press("ArrowRight")
    assert first
    assert page.locator("#tip").inner_text() != first
    page.keyboard.press("End")
    last = page.locator("#tip").inner_text()
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowLeft")
    assert page.locator("#tip").inner_text() == last
    page.keyboard.press("Escape")
    assert page.locator("#tip").is_hidden()
    tab_to(page, "label:has(+ .scroll table[data-table=members]) input")
    page.keyboard.type("diverged_nothing")
    assert rows_of(page, "members") == []
    tab_to(page, "table[data-table=members] button")
    page.keyboard.press("Enter")
    head = page.locator("table[data-table=members] th").first
    assert head.get_attribute("aria-sort") == "ascending"


def test_runs_are_picked(visit):
    """Catches a run that stays where it was not picked, and a link to a run that leads nowhere."""
    page = visit("runs")
    page.get_by_role("button", name="none").click()
    assert not page.locator("section[data-of]:visible").count()
    page.get_by_role("checkbox", name="two <b>").check()
    assert page.locator("section[data-of]:visible h2").all_inner_texts() == ["two <b>"]
    assert [row[0] for row in rows_of(page, "comparison0_runs")] == ["two <b>"]
    page.evaluate("location.hash = '#run0'")
    page.locator("#run0").wait_for(state="visible")


def test_what_a_mark_stands_for_is_shown(visit):
    """Catches a note of another mark, and one that the pointer does not reach."""
    page = visit("runs")
    mark = page.locator("figure [data-note^='one: at the value']").first
    mark.hover(force=True)
    note = "one: at the value 0.93 [0.88, 0.98], at the query 0.02 [-0.03, 0.07]"
    assert page.locator("#tip").inner_text() in (note, note.replace("one", "two <b>"))


def test_texts_of_documents_are_texts(visit):
    """Catches a token of a document that the browser runs or reads as markup."""
    page = visit("runs")
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    words = page.locator(".document .word").all_inner_texts()
    shown = [token.replace("\x1b", "") for token in EVIL]
    assert set(shown) <= {word.replace("\x1b", "") for word in words}
    assert page.evaluate("window.evil") is None
    assert page.locator("img, iframe, script[src]").count() == 0


CONTRAST = """
() => {
  const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((x) => x / 255)
    .map((x) => (x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4))
    .reduce((sum, x, i) => sum + x * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const colour = numbers(getComputedStyle(node).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return numbers(getComputedStyle(document.body).backgroundColor);
  };
  const found = [];
  for (const node of document.querySelectorAll("body *:not(script):not(style):not(title)")) {
    const own = [...node.childNodes].some((x) => x.nodeType === 3 && x.textContent.trim());
    if (!own || !node.checkVisibility()) continue;
    const style = getComputedStyle(node);
    const ink = numbers(node.namespaceURI.endsWith("svg") ? style.fill : style.color);
    if (["17,17,17", "253,253,253"].includes(ink.join())) continue; // on a cell of a figure
    const [one, other] = [light(ink), light(ground(node))];
    const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    found.push([contrast, node.textContent.trim().slice(0, 40), style.color]);
  }
  return found.sort((one, other) => one[0] - other[0]);
}
"""


@pytest.mark.parametrize("name", ["sweep", "runs"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_word_can_be_read(visit, name, scheme):
    """Catches ink too near to its ground: contrast is at least 4.5 (WCAG AA)."""
    page = visit(name, color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (scheme == "light")
    found = page.evaluate(CONTRAST)
    assert len(found) > 200
    assert [one for one in found if one[0] < 4.5] == []


@pytest.mark.parametrize("name", ["sweep", "runs"])
def test_a_narrow_page(visit, name):
    """Catches a part that is wider than a telephone and moves the whole page."""
    page = visit(name, width=400)
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    sizes = page.evaluate(
        "[...document.querySelectorAll('p, td, li, figcaption')]"
        ".filter(one => one.checkVisibility())"
        ".map(one => parseFloat(getComputedStyle(one).fontSize))"
    )
    assert min(sizes) >= 12


CUT_OFF = """
() => [...document.querySelectorAll(".scroll:has(> .data)")]
  .filter((one) => one.checkVisibility() && one.scrollWidth > one.clientWidth + 1)
  .map((one) => one.textContent.trim().slice(0, 40))
"""


@pytest.mark.parametrize("name", ["sweep", "run"])
def test_a_wide_page(visit, name):
    """Catches a table that hides columns beside margins that are empty, or moves the page."""
    page = visit(name, width=1400)
    assert page.evaluate(CUT_OFF) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 1400


def test_long_names_leave_room_for_what_is_named(visit):
    """Catches a first column that stays in sight over all the others of a narrow window."""
    page = visit("sweep", width=400)
    first = page.locator("table[data-table=choice] tbody td").first
    first.evaluate("one => { one.textContent = 'log_linear_attention_without_convolution' }")
    assert first.bounding_box()["width"] <= 0.4 * 400 + 1


def test_values_stand_beside_the_names_of_their_lines(visit):
    """Catches values of a document on a telephone whose line has its name elsewhere."""
    page = visit("run", width=400)
    for strip in page.locator(".document:has(.names)").all():
        names = strip.locator(".names span").evaluate_all(PLACES)
        for token in strip.locator("li:not(.names, .gap)").all():
            assert token.locator("span").evaluate_all(PLACES) == pytest.approx(names, abs=4)
        last = strip.locator("li").last
        last.scroll_into_view_if_needed()
        assert strip.locator(".names").bounding_box()["x"] < 20
        assert last.bounding_box()["x"] < 400


PLACES = "all => all.map(one => one.getBoundingClientRect().top)"


def test_a_finding_with_its_numbers_on_a_narrow_page(visit):
    """Catches a verdict or a number out of sight, and one that stands without its heading."""
    page = visit("study", width=400)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    for cell in page.locator(".findings > tbody > tr > td:visible").all():
        box = cell.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 400
    heads = page.locator("#finding-1 > [data-head]").evaluate_all(
        "all => all.map(one => getComputedStyle(one, '::before').content)"
    )
    assert [head.strip('": ') for head in heads] == ["verdict", "here [95 %]", "published"]


def test_without_a_script(visit):
    """Catches words or numbers that only a script puts on the page."""
    page = visit("sweep", java_script_enabled=False)
    assert len(rows_of(page, "members")) == 10
    assert page.locator("#advice").is_visible()
    assert "Take attention <b>of width 16</b>." in page.locator(".advice").inner_text()
    assert page.locator("#picker").is_hidden()
    assert page.locator("figure svg").count() >= 6
