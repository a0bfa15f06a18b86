"""Pages of the site that are no file of docs/, and links that lead to them.

The pages of the repository's root get a place beside those of docs/, the cells of notebooks become
text, code and what the code printed, and two pages are written from the code: programs with their
flags, configs with their fields. A link to a source file, which the site does not have, becomes
the name of the file.
"""

import ast
import pathlib
import re
import sys

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from mecheval_jax import completion, programs  # noqa: E402
from tools import write_notebooks  # noqa: E402

ROOT_PAGES = {
    "README.md": "overview.md",
    "BUILD.md": "installing.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
"""Pages of the root, and their names in the site."""

LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(((?!https?:|#|mailto:)[^)#\s]+)(#[^)]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are no file of docs/."""
    for source, name in ROOT_PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8").replace("](docs/", "](")
        files.append(File.generated(config, name, content=text))
    for name in write_notebooks.NAMES:
        for file in _notebook(name, config):
            files.append(file)
    files.append(File.generated(config, "programs.md", content=_programs()))
    files.append(File.generated(config, "config_files.md", content=_configs()))
    return files


def on_page_markdown(markdown: str, page: object, config: MkDocsConfig, files: Files) -> str:
    """Let every link lead to a page, or say the name of the file it meant."""
    del page, config
    known = {file.src_uri for file in files}

    def lead(match: re.Match[str]) -> str:
        text, target, anchor = match[1], match[2].removeprefix("../"), match[3] or ""
        target = ROOT_PAGES.get(target, target)
        if pathlib.PurePath(target).stem in write_notebooks.NAMES:
            target = f"{pathlib.PurePath(target).stem}.md"
        return f"[{text}]({target}{anchor})" if target in known else text

    return LINK.sub(lead, markdown)


def _notebook(name: str, config: MkDocsConfig) -> list[File]:
    """A notebook as text, blocks of code, and what each gave; and the files of its pictures."""
    outputs, parts, pictures = write_notebooks.written_outputs(name), [], []
    for number, (kind, text) in enumerate(write_notebooks.cells_of(name)):
        parts.append(f"```python\n{text}\n```" if kind == "code" else text)
        given = outputs.get(number, [])
        if printed := write_notebooks.printed_in(given):
            parts.append(f"```text\n{printed.rstrip()}\n```")
        for image in write_notebooks.images_of(given):
            picture = f"{name}_{len(pictures) + 1}.png"
            pictures.append(File.generated(config, picture, content=image))
            parts.append(f"![What the cell above draws]({picture})")
    page = File.generated(config, f"{name}.md", content="\n\n".join(parts) + "\n")
    return [page, *pictures]


def _programs() -> str:
    """Every program with what it does and its flags."""
    parts = [
        "# Programs\n\nIn a clone a program starts as `python -m launch.NAME`, installed as "
        f"`{programs.COMMAND} NAME`; a config may be given by its name as the first word "
        "([installing](installing.md#as-a-package))."
    ]
    for name in programs.names():
        text = _preformatted(programs.documentation(name))
        rows = "\n".join(
            f"| `--{flag}` | {_cell(meaning)} | {_cell(default)} |"
            for flag, meaning, default in completion.described_flags(name)
        )
        parts.append(f"## {name}\n\n{text}\n\n| flag | meaning | default |\n|---|---|---|\n{rows}")
    return "\n\n".join(parts) + "\n"


def _configs() -> str:
    """Every config with what its file says."""
    parts = ["# Configs\n\nWhat each file of `configs/` says of itself."]
    for name in programs.config_names():
        source = (ROOT / "configs" / f"{name}.py").read_text(encoding="utf-8")
        parts.append(f"## {name}\n\n{_preformatted(ast.get_docstring(ast.parse(source)) or '')}")
    return "\n\n".join(parts) + "\n"


def _preformatted(text: str) -> str:
    """A docstring as Markdown: its double backticks are single ones there."""
    return text.replace("``", "`")


def _cell(text: object) -> str:
    return "" if text is None else " ".join(str(text).replace("|", "\\|").split())
