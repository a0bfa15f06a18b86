"""Files that are not what they should be: exit code 2, one line that names them, no traceback."""

import errno
import json
import os

import pytest

from mecheval_jax import files
from tests.support import reported_runs
from tests.support.called import call, refused
from tests.support.sweep_standing import make_standing

# ml_collections reads a config by what Python 3.12 calls by another name.
pytestmark = pytest.mark.filterwarnings(r"ignore:the load_module\(\) method")

RECALL = "--config=configs/recall.py"
DOCUMENTS = "--config=configs/documents.py"

CONTENTS = {
    "empty": b"",
    "list": b"[]",
    "number": b"3",
    "text": b'"x"',
    "null": b"null",
    "half": b'{"training": {"steps"',
    "zeros": b"\0" * 64,
    "bytes": bytes(range(256)),
    "deep": b'{"a":' * 20_000,
    "digits": b'{"step": ' + b"9" * 5000 + b"}",
    "other": json.dumps({"training": 3, "step": "x", "members": {}, "arguments": 3}).encode(),
}
"""What a file may hold that was damaged, or was never ours."""

OF_RUN = ("config.json", "summary.json", "provenance.json", "interchange.csv")
OF_SWEEP = ("sweep.json",)


@pytest.fixture
def folder_of(tmp_path):
    """A folder that may be damaged."""

    def make(kind):
        if kind == "sweep":
            return make_standing(tmp_path / "sweep").path
        return reported_runs.make_run(tmp_path / "run")

    return make


def damaged(path, content):
    path.unlink(missing_ok=True)
    if content == "folder":
        path.mkdir()
    elif content == "endless":
        path.symlink_to("/dev/zero")
    else:
        path.write_bytes(CONTENTS[content])


@pytest.mark.parametrize("content", [*CONTENTS, "folder", "endless"])
@pytest.mark.parametrize("name", [*OF_RUN, *OF_SWEEP])
def test_files_of_a_folder(name, content, folder_of):
    """Catches a damaged file that ends in a traceback, or is read for ever."""
    folder = folder_of("sweep" if name in OF_SWEEP else "run")
    damaged(folder / name, content)
    before = (folder / name).lstat().st_mtime_ns
    program = "status" if name in OF_SWEEP else "report"
    message = refused(call(program, f"--workdir={folder}"))
    assert name in message or "holds no" in message
    assert (folder / name).lstat().st_mtime_ns == before  # and nothing is lost


@pytest.mark.parametrize("content", [*CONTENTS, "folder", "endless"])
def test_the_status_of_a_run(content, folder_of):
    """Catches a status that ends at where its run came from, or says nothing of the damage."""
    folder = folder_of("run")
    damaged(folder / "provenance.json", content)
    result = call("status", f"--workdir={folder}", "--json")
    assert result.code == 0, result.err
    overview = json.loads(result.out)
    assert "provenance.json" in overview["left_out"]["provenance"]
    assert [one["state"] for one in overview["groups"]] == ["finished"]


@pytest.mark.parametrize("content", [*CONTENTS, "folder"])
def test_the_status_of_one_group(content, folder_of):
    """Catches an overview of all groups that ends at one of them."""
    folder = folder_of("sweep")
    damaged(folder / "groups/g1/status.json", content)
    result = call("status", f"--workdir={folder}", "--json")
    assert result.code == 0, result.err
    overview = json.loads(result.out)
    assert "status.json" in overview["left_out"]["g1"]
    assert [one["state"] for one in overview["groups"]] == ["finished", "damaged", "waiting"]


FIELDS_OF_FILES = {
    "summary.json": {
        "finished": ("yes", 1),
        "step": (-1, "x", 1e300, 10**30),
        "accuracy": ("x", []),
        "floors": (3, {"best": "x"}),
        "verdict": (3, None),
        "probabilities": ([], {"induction": None}),
        "evidence": (3, {"attributions": [{}]}, {"thresholds": {"a": 3}}),
        "over_training": ({}, {"steps": 3, "transitions": []}),
    },
    "provenance.json": {"arguments": ("x", [3]), "commit": (3,), "versions": ([],)},
    "config.json": {
        "model": (None, [], {"mixer": "attention"}),
        "training": ({"steps": 0}, {"steps": 5, "seed": -1}),
        "task": ({}, {"name": "none"}, {"name": 3}),
        "evaluation": ({"documents": None}, {"documents": 10**12}),
    },
}


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        (name, field, value)
        for name, fields in FIELDS_OF_FILES.items()
        for field, values in fields.items()
        for value in values
    ],
)
def test_fields_of_files(name, field, value, folder_of):
    """Catches a field of another type that is shown, or ends in a traceback."""
    path = folder_of("run") / name
    values = json.loads(path.read_text()) | {field: value}
    path.write_text(json.dumps(values))
    refused(call("report", f"--workdir={path.parent}"))


LINES = [
    ("", "no documents"),
    ("3", "is no JSON object"),
    ("{", "is no JSON"),
    ("[" * 20_000, "one JSON object a line"),
    ('{"text": ' + "[" * 20_000, "is no JSON"),
    ('{"text": "a b c"}', "no list 'queries'"),
    ('{"text": "a b c", "queries": []}', "no list 'queries'"),
    ('{"text": "a b c", "queries": {}}', "no list 'queries'"),
    ('{"text": "a b c", "queries": [3]}', "query 0"),
    ('{"text": "a b c", "queries": [{}]}', "query 0"),
    ('{"text": 3, "queries": [{"query": [0, 1], "answer": "c"}]}', "text"),
    ('{"queries": [{"query": [0, 1], "answer": "c"}]}', "text"),
    ('{"text": "a b c", "queries": [{"query": [0, 99], "answer": "c"}]}', "query 0"),
    ('{"text": "a b c", "queries": [{"query": [-1, 1], "answer": "c"}]}', "query 0"),
    ('{"text": "a b c", "queries": [{"query": [1, 0], "answer": "c"}]}', "query 0"),
    ('{"text": "a b c", "queries": [{"query": "a", "answer": "c"}]}', "query 0"),
    ('{"text": "a b c", "queries": [{"query": [0, 1], "answer": 3}]}', "query 0"),
    ('{"text": "a b c", "queries": [{"query": [0, 1], "answer": "c", "kye": [0, 1]}]}', "kye"),
    ('{"text": "a b c", "queries": [{"query": [0, 1], "answer": "c", "roles": 3}]}', "roles"),
    (
        '{"text": "a\\u0000", "queries": [{"query": [0, ' + "9" * 5000 + '], "answer": "c"}]}',
        "JSON",
    ),
    ('{"tokens": [1, 2], "queries": [{"query": 0, "answer": 2}]}', "text"),
    ("\xff\xfe", "one JSON object a line"),
    ("\xff", "is not UTF-8 (byte 1 of line 1)"),
]


@pytest.mark.parametrize(("line", "named"), LINES, ids=range(len(LINES)))
def test_documents(line, named, tmp_path):
    """Catches a line of another form that ends in a traceback, or is trained on."""
    path = tmp_path / "documents.jsonl"
    path.write_bytes(line.encode("latin-1") + b"\n")
    refused(call("inspect", f"{DOCUMENTS}:path={path}"), named)


@pytest.mark.parametrize(
    ("argument", "named"),
    [
        ("path=/no/such/file", "cannot be read"),
        ("path=/dev/zero", "is no file"),
        ("path={home}", "is no file"),
        ("tokenizer=words", "unknown"),
        ("tokenizer=none.json", "none.json"),
    ],
)
def test_files_of_documents(argument, named, tmp_path):
    """Catches a file that is read for ever, and a tokenizer that is not there."""
    refused(call("inspect", f"{DOCUMENTS}:{argument.format(home=tmp_path)}"), named)


@pytest.mark.parametrize(
    ("number", "named"),
    [
        (errno.ENOSPC, "make room"),
        (errno.EDQUOT, "quota"),
        (errno.EACCES, "choose a folder that you may read and write"),
        (errno.EROFS, "choose a folder on a file system that can be written"),
        (errno.EIO, "the disk"),
        (errno.EMFILE, "ulimit -n"),
    ],
)
def test_a_machine_that_refuses(number, named, tmp_path, monkeypatch):
    """Catches a traceback where a disk is full, or a folder is not one's own."""

    def refuse(path, content):
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(files, "write_bytes", refuse)
    workdir = tmp_path / "run"
    message = refused(call("train", RECALL, f"--workdir={workdir}"), named)
    assert str(workdir) in message


def test_a_cluster_of_garbage(tmp_path, monkeypatch):
    """Catches a traceback for a variable that somebody has set."""
    for variable, value in {"SLURM_STEP_NUM_TASKS": "many", "SLURM_PROCID": "0"}.items():
        monkeypatch.setenv(variable, value)
    refused(
        call("train", RECALL, f"--workdir={tmp_path / 'new'}"), "SLURM_STEP_NUM_TASKS is 'many'"
    )


def test_there_are_a_hundred():
    """Catches a table that lost most of its cases."""
    of_status = len(CONTENTS) + 1
    assert len(OF_RUN + OF_SWEEP) * (len(CONTENTS) + 2) + of_status + len(LINES) >= 95
