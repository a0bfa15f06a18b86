"""Code that a folder names runs where its reader has asked for it."""

import json
import sys

import pytest

from mecheval_jax import trust
from mecheval_jax.errors import UserError
from mecheval_jax.store.run_folder import RunFolder
from tests.support.reported_runs import CONFIG

MIXER = "hostile_mixers:Mixer"


@pytest.fixture
def downloaded(monkeypatch, tmp_path):
    """The folder of a run from elsewhere, whose config names a module that leaves a trace."""
    monkeypatch.setenv("MECHEVAL_JAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(trust.ALLOWED, raising=False)
    monkeypatch.setattr(trust, "_known", set())
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
