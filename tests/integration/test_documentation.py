"""Every command and snippet of the README, of BUILD, CONTRIBUTING and docs/ runs.

Trainings run as smoke runs, in a folder that all pages share: a run that one page makes is there
for the others, and a block that stands on several pages runs once. Commands that set up a machine,
or need a cluster, are checked for their syntax here; the set-up scripts run in
`test_fresh_clone.py`, flags of the others are looked up in `test_launch_files.py`.
"""

import os
import pathlib
import re
import subprocess

import pytest

from configs import quickstart, recall
from mecheval_jax import interventions
from mecheval_jax.evaluation import analyses
from tests.support import forked
from tests.support.compilation import ROOT, settings

PAGES = [*ROOT.glob("*.md"), *sorted(ROOT.glob("docs/*.md"))]
SNIPPETS_FOLLOW_ONE_ANOTHER = {"interventions.md"}
"""Pages with one program in parts, which has a test of its own."""

SET_UP = ("pip install", "quickstart.sh", "tests/run.sh", "python -m pytest", "ruff ")
CLUSTER = ("sbatch", "SBATCH", "kubectl", "tpu_pod.sh", "podman", "--coordinator", "/shared/")
CLUSTER += ("--launcher=slurm",)
WRITES_PAGES = ("tools.study_results", "tools.prove_verdict")
"""What changes the pages themselves; `test_study_results.py` and `test_prove_verdict.py` have it
change copies."""

OTHER_PROGRAMS = ("--against=torch", "--suite=device")
"""What needs a package or a device that the tests do not have."""

SYNTAX_ALONE = SET_UP + CLUSTER + WRITES_PAGES + OTHER_PROGRAMS

LAYER = "smoke=True,layers=1"
FEW = (
    "--config.evaluation.roles=\"('key', 'value', 'query')\" "
    "--config.evaluation.corruptions=\"('key',)\""
)
"""What activations are exchanged at, and in which documents: fewer figures to draw."""

SWEEP = "--strategy=scan --interventions=none"
"""What a sweep is spared: `tests/sweeps` and `test_sweep_program.py` have it."""


def blocks(page: pathlib.Path, language: str = "bash|python") -> list[tuple[str, str]]:
    """Languages and texts of a page's blocks, in their order."""
    pattern = rf"^```({language})\n(.*?)^```$"
    return re.findall(pattern, page.read_text(), flags=re.DOTALL | re.MULTILINE)


def as_smoke(text: str, folder: pathlib.Path) -> str:
    """Runs go to `folder`, and trainings take seconds; all compile as the tests do.

    A run has two layers where a snippet looks into the second, or where its mixers are listed.
    """
    two = ("runs/based", "mixer=sliding", "configs/documents.py", "mamba,attention")
    small = "smoke=True" if any(named in text for named in two) else LAYER
    text = re.sub(r"\bXLA_FLAGS=(\S+)", r'XLA_FLAGS="\1 $XLA_FLAGS"', text)
    named = r"(--config=configs/[\w/]+\.py:[\w=,.:\-/]+|mecheval_jax train \w+:[\w=,.\-/]+)"
    text = re.sub(named, rf"\1,{small}", text)
    text = re.sub(r"(--config=configs/[\w/]+\.py)(\s)", rf"\1:{small}\2", text)
    text = re.sub(r"(configs/recall\.py:\S+|mecheval_jax train recall:\S+)", rf"\1 {FEW}", text)
    text = re.sub(r"-m launch\.sweep", rf"-m launch.sweep {SWEEP}", text)
    text = text.replace("--lengths=128,512,2048,8192", "--lengths=64,128")
    # Minutes, however small: its flags are read here, and `tests/selection` runs it.
    text = re.sub(r"-m launch\.(choose|ground_truth)", r"-m launch.\1 --only_check_args", text)
    text = re.sub(r"\[--analyses=.*", "--analyses=lens", text)  # what may be given
    text = re.sub(r"--analyses=([\w,]+)", few_analyses, text)
    return re.sub(r"\bruns/", f"{folder}/", text)


def few_analyses(found: re.Match) -> str:
    """Those of one command that `tests/evaluation/test_analyses.py` does not run, or the last."""
    names = found[1].split(",")
    assert set(names) <= set(analyses.ANALYSES), names
    few = [name for name in names if name in ("editing", "overwriting")] or names[-1:]
    return f"--analyses={','.join(few)}"


class Reader:
    """Somebody who follows the pages, each block once.

    Args:
        folder: takes the place of runs/.
        environment: that of a shell.
    """

    def __init__(self, folder: pathlib.Path, environment: dict[str, str]):
        self._folder, self._environment = folder, environment
        self._done: set[str] = set()
        self._makers: dict[str, str] = {}
        for _, code in (block for page in PAGES for block in blocks(page, "bash")):
            if re.search(r"launch\.(train|sweep)", code) and not needs_more_than_a_shell(code):
                for name in re.findall(r"runs/(\w+)", code):
                    self._makers.setdefault(name, code)

    def follow(self, language: str, code: str) -> None:
        """Run a block, after whatever makes the runs that it looks at."""
        if code in self._done:
            return
        self._done.add(code)
        elsewhere = needs_more_than_a_shell(code)
        for name in () if elsewhere else re.findall(r"runs/(\w+)", code):
            if name in self._makers:
                self.follow("bash", self._makers[name])
        code = as_smoke(code, self._folder)
        if language == "python":
            result = forked.start(["-c", code])
        else:
            how = "-n" if elsewhere else "-e"
            result = subprocess.run(
                ["bash", how, "-c", code],
                cwd=ROOT,
                env=self._environment,
                capture_output=True,
                text=True,
                timeout=600,
            )
        assert result.returncode == 0, f"{code}\n{result.stdout}\n{result.stderr}"


def needs_more_than_a_shell(code: str) -> bool:
    """Whether a block is for another machine, or changes this one."""
    return any(word in code for word in SYNTAX_ALONE)


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """All pages' reader, in a shell whose `python` starts where its imports are done."""
    with forked.interpreter(tmp_path_factory.mktemp("python")) as python:
        path = {"PATH": f"{python}{os.pathsep}{os.environ['PATH']}"}
        yield Reader(tmp_path_factory.mktemp("documented"), os.environ | settings() | path)


@pytest.mark.parametrize(
    "page",
    [p for p in PAGES if p.name not in SNIPPETS_FOLLOW_ONE_ANOTHER and blocks(p)],
    ids=lambda page: page.name,
)
def test_commands_and_snippets_in_order(page, reader):
    """Catches a flag, path or function that a page names and the code does not have."""
    for language, code in blocks(page):
        reader.follow(language, code)


def test_no_command_is_passed_over():
    """Catches a command in a block of another language or of none, which nobody would run."""
    run = r"^```(bash|python)\n.*?^```$"
    for page in PAGES:
        text = re.sub(run, "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
        for block in re.findall(r"^```\w*\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE):
            assert not re.search(r"^(\w+=\S+ )*(python|bash|pip) ", block, re.MULTILINE), block


def test_the_readme_is_short():
    """Catches a README that grows back: what is looked up stands in docs/."""
    assert len((ROOT / "README.md").read_text().splitlines()) <= 200


@pytest.mark.parametrize(
    ("page", "mixer"), [("README.md", "based"), ("docs/choosing.md", "gated_delta_net")]
)
def test_pages_promise_what_the_quickstart_holds(page, mixer):
    """Catches a first run that does not learn: `test_fresh_clone` trains the quickstart's."""
    text = (ROOT / page).read_text()
    command = rf"recall.py:(mixer={mixer}\S+) \\\n +--config.training.training_batches=(\d+)"
    arguments, batches = re.search(command, text).groups()
    config = recall.get_config(arguments)
    config.training.training_batches = int(batches)
    assert config == quickstart.get_config(f"mixer={mixer}")


def test_the_index_leads_to_every_page():
    """Catches a page that nobody finds."""
    index = (ROOT / "docs" / "index.md").read_text()
    for page in {path.name for path in ROOT.glob("docs/*.md")} - {"index.md"}:
        assert f"({page})" in index


def test_snippets_on_interventions_follow_one_another():
    """Catches an intervention on the page that the code lacks, or that takes other arguments."""
    snippets = [code for _, code in blocks(ROOT / "docs" / "interventions.md", "python")]
    assert len(snippets) >= 7
    names: dict[str, object] = {}
    exec("\n".join(snippets), names)
    unnamed = set(interventions.__all__) - {"Activations", "Interventions", "Positions"}
    page = (ROOT / "docs" / "interventions.md").read_text()
    unnamed = {name for name in unnamed if name not in page}
    assert unnamed <= {"resolve", "site_paths", "validate_positions"}


@pytest.mark.parametrize("path", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(path):
    """Catches a file that was moved."""
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", path.read_text()):
        assert (path.parent / target).exists(), target


def test_the_page_on_analyses_names_them_all():
    """Catches an analysis, or a table, that nobody is told of."""
    page = (ROOT / "docs" / "analyses.md").read_text()
    for name in analyses.ANALYSES:
        assert f"| `{name}` |" in page
        assert f"\n## {name.capitalize()}\n" in page


def test_errors_are_quoted_as_they_are():
    """Catches an error that says something else by now, so that nobody finds it on the page."""
    source = "".join(path.read_text() for path in (ROOT / "mecheval_jax").rglob("*.py"))
    page = (ROOT / "docs" / "errors.md").read_text()
    quoted = re.findall(r"^\| `([^`]+)` \|", page, flags=re.MULTILINE)
    assert len(quoted) >= 10
    assert [text for text in quoted if text not in source] == []


@pytest.mark.parametrize("path", sorted(ROOT.glob("*.md")), ids=lambda page: page.name)
def test_no_placeholder_is_left(path):
    """Catches a number that was to be filled in: what looks like one is a variable of the
    environment that the programs read."""
    pattern = r"\b[A-Z]{3,}_[A-Z_]{3,}\b"
    programs = [*(ROOT / "mecheval_jax").rglob("*.py"), *(ROOT / "launch").glob("*.*")]
    read = {name for source in programs for name in re.findall(pattern, source.read_text())}
    assert set(re.findall(pattern, path.read_text())) <= read


def test_scripts_parse():
    for script in ("launch/quickstart.sh", "launch/environment.sh", "tests/run.sh", ".ci/run"):
        subprocess.run(["bash", "-n", str(ROOT / script)], check=True)
