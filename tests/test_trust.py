"""Code that a folder names runs where its reader has asked for it."""

import json
import sys

import pytest

from mecheval_jax import trust
from mecheval_jax.errors import UserError
from mecheval_jax.store.run_folder import RunFolder
from mecheval_jax.store.sweep_folder import SweepFolder
from mecheval_jax.sweeps.plan import plan_of
from tests.support.compilation import ROOT
from tests.support.reported_runs import CONFIG

MIXER = "hostile_mixers:Mixer"


@pytest.fixture
def downloaded(monkeypatch, tmp_path):
    """The folder of a run from elsewhere, whose config names a module that leaves a trace."""
    monkeypatch.setenv("MECHEVAL_JAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(trust.ALLOWED, raising=False)
    monkeypatch.setattr(trust, "_known", set())
    monkeypatch.setattr(trust, "_own_files", set())
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "hostile_mixers", raising=False)
    trace = tmp_path / "it_ran"
    (tmp_path / "hostile_mixers.py").write_text(f"open({str(trace)!r}, 'w').close()")
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    model = CONFIG["model"] | {"mixer": f"attention,{MIXER}"}
    folder.config.write_text(json.dumps(CONFIG | {"model": model}))
    return folder, trace


def test_no_code_runs_unasked(downloaded):
    """Catches a module that is imported because a folder says so."""
    folder, trace = downloaded
    with pytest.raises(UserError, match=rf"not trained with, {MIXER}: .*--allow_code"):
        folder.experiment()
    assert not trace.exists()


def test_code_that_is_allowed(downloaded, monkeypatch):
    """Catches a permission without effect."""
    folder, trace = downloaded
    monkeypatch.setenv(trust.ALLOWED, "")  # so that what is allowed here ends with the test
    trust.allow_code()
    with pytest.raises(UserError, match="cannot be imported"):  # it has no such class
        folder.experiment()
    assert trace.exists()


def test_code_that_was_trained_with(downloaded, monkeypatch):
    """Catches a user who is asked again and again for code of their own."""
    folder, trace = downloaded
    trust.remember(MIXER)
    monkeypatch.setattr(trust, "_known", set())  # as in a later program
    with pytest.raises(UserError, match="cannot be imported"):
        folder.experiment()
    assert trace.exists()


def of_documents(path):
    """A config of documents that are in a file, without its hash."""
    changes = {
        "task": {"name": "documents", "path": str(path)},
        "model": CONFIG["model"] | {"max_length": 64},
        "training": CONFIG["training"] | {"evaluation_documents": 10},
        "evaluation": {"documents": 10, "roles": ["key", "value", "query"]},
    }
    return CONFIG | changes


@pytest.mark.parametrize(
    "task",
    [
        {"name": "documents", "path": "{}/private.jsonl"},
        {"name": "documents", "path": "{}/run/../private.jsonl"},
        {"name": "documents", "path": "{}/run/own.jsonl", "tokenizer": "{}/private.json"},
        {"name": "documents", "path": "docs/examples/none.jsonl"},
        {"name": "treecall", "grammar_file": "{}/private.json"},
    ],
    ids=str,
)
def test_no_file_is_read_unasked(task, downloaded, tmp_path, monkeypatch):
    """Catches a folder from elsewhere that brings a user's own files into its tables."""
    folder, _ = downloaded
    task = {name: value.format(tmp_path) for name, value in task.items()}
    folder.config.write_text(json.dumps(CONFIG | {"task": task}))
    for name in ("private.json", "private.jsonl"):
        (tmp_path / name).write_text('{"text": "my own"}')
    with pytest.raises(UserError, match=r"names a file outside of its folder, .*--allow_code"):
        folder.experiment()
    monkeypatch.setenv(trust.ALLOWED, "1")
    with pytest.raises(UserError, match=r"bad line|no grammar|cannot be read|max_length"):
        folder.experiment()


def test_files_that_may_be_read(downloaded, tmp_path):
    """Catches data beside the config, data with its hash, or one's own, which are refused."""
    folder, _ = downloaded
    orders = (ROOT / "docs" / "examples" / "orders.jsonl").read_text()
    lines = "\n".join(orders.splitlines()[:200])
    for path in (folder.path / "own.jsonl", tmp_path / "other.jsonl"):
        path.write_text(lines)
    folder.config.write_text(json.dumps(of_documents(folder.path / "own.jsonl")))
    task = folder.experiment().task
    with_hash = of_documents(tmp_path / "other.jsonl")
    with_hash["task"]["sha256"] = task.sha256
    folder.config.write_text(json.dumps(with_hash))
    assert folder.experiment().task.sha256 == task.sha256
    (tmp_path / "other.jsonl").write_text('{"text": "my own"}')
    with pytest.raises(UserError, match="is not what it was for this config"):
        folder.experiment()


def test_a_sweep_from_elsewhere_reads_no_file_unasked(downloaded, tmp_path, monkeypatch):
    """Catches a path that stands in the changes of one member."""
    content = {"base": CONFIG, "members": [{}, {"task.name": "documents", "task.path": "/etc/x"}]}
    with pytest.raises(UserError, match="names a file outside of its folder, /etc/x"):
        plan_of(content, tmp_path / "sweep.json")
    monkeypatch.setattr(trust, "_own_files", {"/etc/x"})  # as if one's own config named it
    with pytest.raises(UserError, match="member 1"):
        plan_of(content, tmp_path / "sweep.json")


def test_a_member_outside_of_its_sweep(downloaded):
    """Catches parameters that are read two folders above a folder from elsewhere."""
    folder, _ = downloaded
    folder.config.write_text(json.dumps(CONFIG))
    folder.member.write_text('{"place": 0, "of": 1}')
    with pytest.raises(UserError, match="is a member of a sweep, which has its parameters"):
        folder.experiment()


@pytest.mark.parametrize("name", ["groups/g1", "groups/g1/members/0000", "tables"])
def test_no_link_leads_out_of_a_sweep(name, tmp_path, monkeypatch):
    """Catches a group or a member in whose place another folder would be written."""
    monkeypatch.delenv(trust.ALLOWED, raising=False)
    folder = SweepFolder(tmp_path / "sweep")
    link = folder.path / name
    link.parent.mkdir(parents=True)
    (tmp_path / "mine").mkdir()
    link.symlink_to(tmp_path / "mine")
    folder.sweep.write_text("{}")
    with pytest.raises(UserError, match=rf"sweep/{name} is a link that leads out of the folder"):
        folder.read()


@pytest.mark.parametrize("name", ["summary.json", "figures", "analyses/probes.csv"])
def test_no_link_leads_out_of_a_folder(name, downloaded, tmp_path, monkeypatch):
    """Catches a folder from elsewhere through which a user's other files are overwritten."""
    folder, _ = downloaded
    folder.config.write_text(json.dumps(CONFIG))
    (tmp_path / "run_2").mkdir()
    (folder.path / "analyses").mkdir()
    (folder.path / "checkpoints").symlink_to(folder.path / "analyses")  # one inside it is no harm
    folder.experiment()
    (folder.path / name).symlink_to(tmp_path / "run_2")
    with pytest.raises(UserError, match=rf"run/{name} is a link .* to \S+run_2: give --allow_code"):
        folder.experiment()
    monkeypatch.setenv(trust.ALLOWED, "1")
    folder.experiment()


@pytest.mark.parametrize("kind", [RunFolder, SweepFolder])
def test_no_link_is_followed_before_it_is_refused(kind, tmp_path, monkeypatch):
    """Catches a lock that is written through a link, before anything of the folder is read."""
    monkeypatch.delenv(trust.ALLOWED, raising=False)
    folder = kind(tmp_path / "folder")
    folder.path.mkdir()
    (tmp_path / "mine").mkdir()
    (folder.path / "figures").symlink_to(tmp_path / "mine")
    with pytest.raises(UserError, match="is a link"):
        folder.contents()
    with pytest.raises(UserError, match="is a link"), folder.lock("training"):
        pass
    assert not list(folder.path.glob("lock-*"))


def test_links_in_a_circle(downloaded):
    """Catches links that lead nowhere, which end in an error of pathlib's and a traceback."""
    folder, _ = downloaded
    folder.config.write_text(json.dumps(CONFIG))
    (folder.path / "a").symlink_to("b")
    (folder.path / "b").symlink_to("a")
    folder.experiment()
    (folder.path.parent / "self").symlink_to("self")
    with pytest.raises(UserError, match="cannot be made: what stands there is no folder"):
        RunFolder(folder.path.parent / "self").lock("training").__enter__()


def test_a_folder_that_is_itself_a_link(downloaded, tmp_path):
    """Catches a workdir on another disk that is refused."""
    folder, _ = downloaded
    folder.config.write_text(json.dumps(CONFIG))
    (tmp_path / "link").symlink_to(folder.path)
    RunFolder(tmp_path / "link").experiment()


def test_names_of_ours_need_no_permission(downloaded, tmp_path):
    """Catches a question where nothing is imported."""
    for mixer in ("attention", "attention,mamba", None, 3):
        trust.check(mixer, tmp_path)
