"""Files of tasks that were moved: the folders of runs and of sweeps that find them again."""

import pathlib

import pytest

from configs import grids
from mecheval_jax.errors import UserError
from mecheval_jax.files import write_json
from mecheval_jax.store import task_files
from mecheval_jax.store.run_folder import RunFolder
from mecheval_jax.store.sweep_folder import SweepFolder
from mecheval_jax.sweeps.plan import open_folder, plan, plan_of
from mecheval_jax.tasks.treecall.treecall import Treecall
from tests.support import small
from tests.support.document_lines import many, write

DOCUMENTS = {
    "model.max_length": 32,
    "training.evaluation_documents": 2,
    "evaluation.documents": 2,
    "evaluation.roles": ("key", "value", "query"),
}


def of_documents(path, **training):
    """An experiment on the documents of a file."""
    task = {"name": "documents", "path": str(path), "dev": 0.2, "test": 0.2}
    return small.experiment(DOCUMENTS | {"task": task}, **training)


def of_grammar(path, **training):
    """An experiment on the grammar of a file."""
    task = {"name": "treecall", "terminals": 8, "shortest": 3, "longest": 20}
    task |= {"grammar_file": str(path)}
    return small.experiment({"task": task, "model.max_length": 32}, **training)


def path_of(experiment):
    (path,) = experiment.task.files_of(vars(experiment.task))
    return path


@pytest.fixture(params=["documents", "grammar"])
def kind(request, tmp_path):
    """A maker of experiments, and two files of it: what is in them differs."""
    first, second = tmp_path / "first", tmp_path / "second"
    for place, count, seed in ((first, 60, 1), (second, 80, 2)):
        place.mkdir()
        if request.param == "documents":
            write(place, *many(count))
        else:
            text = Treecall(seed=seed, terminals=8, shortest=3, longest=20).grammar.as_json()
            (place / "documents.jsonl").write_text(text)
    make = of_documents if request.param == "documents" else of_grammar
    return make, first / "documents.jsonl", second / "documents.jsonl"


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize("replaced", [False, True])
def test_a_run_goes_on_with_its_file_where_that_is_now(kind, tmp_path, finished, replaced):
    """Catches a run that its moved file locks for good, though its user says where that is, and a
    folder that does not know it afterwards; the old place may have a file of something else."""
    make, file, other = kind
    run = RunFolder(tmp_path / "run")
    run.open(make(file))
    run.update_summary(finished=finished, step=3)
    run.grammar.unlink(missing_ok=True)  # it would do in its place
    new = file.rename(tmp_path / "moved.jsonl")
    if replaced:
        file.write_text(other.read_text())
    with pytest.raises(UserError):
        run.experiment()
    run.open(make(new))
    run.begin_measuring(make(new))
    assert path_of(run.experiment()) == str(new)
    assert bool(run.read_summary()["finished"]) is finished
    with pytest.raises(UserError, match=r"another config \(training\.seed is 0 there and 5 here"):
        run.open(make(new, seed=5))


def test_a_run_of_another_content_says_so(kind, tmp_path):
    """Catches a message of the old place alone, where the user's file holds other documents."""
    make, file, other = kind
    run = RunFolder(tmp_path / "run")
    run.open(make(file))
    before = run.config.read_text()
    words = f"holds the run of another config ({other} has another content than {file} had): choose"
    for gone in (False, True):
        if gone:
            file.unlink()
        with pytest.raises(UserError) as caught:
            run.open(make(other))
        assert words in str(caught.value)
    file.write_text(other.read_text())
    with pytest.raises(UserError, match="has another content than it had"):
        run.open(make(file))
    assert run.config.read_text() == before


def test_a_place_that_is_given_in_another_folder(kind, tmp_path, monkeypatch):
    """Catches a path that is written down as it was given, and is of no folder that is known."""
    make, file, _ = kind
    run = RunFolder(tmp_path / "run")
    run.open(make(file))
    run.grammar.unlink(missing_ok=True)
    (tmp_path / "elsewhere").mkdir()
    new = file.rename(tmp_path / "elsewhere" / "moved.jsonl")
    monkeypatch.chdir(tmp_path / "elsewhere")
    run.open(make("moved.jsonl"))
    monkeypatch.chdir(tmp_path)
    assert path_of(run.experiment()) == str(new)


def test_a_sweep_goes_on_with_its_file_where_that_is_now(kind, tmp_path):
    """Catches a sweep that its moved file locks for good, and members that are done already and
    have its old place in their configs."""
    make, file, other = kind
    folder = SweepFolder(tmp_path / "sweep")
    sweep = plan(make(file).as_dict(), grids.seeds(2))
    open_folder(folder, sweep)
    member = RunFolder(folder.group(sweep.groups[0].name).member(0))
    member.open_as_member(sweep.experiments[0], 0, 2, [])
    member.grammar.unlink(missing_ok=True)
    new = file.rename(tmp_path / "moved.jsonl")
    for read in (member.experiment, lambda: plan_of(folder.read(), folder.sweep)):
        with pytest.raises(UserError, match=r"documents\.jsonl cannot be read"):
            read()
    words = f"holds another sweep ({other} has another content than {file} had): choose another"
    with pytest.raises(UserError) as caught:
        open_folder(folder, plan(make(other).as_dict(), grids.seeds(2)))
    assert words in str(caught.value)
    with pytest.raises(UserError, match=r"another sweep .*2 members there and 3 here"):
        open_folder(folder, plan(make(new).as_dict(), grids.seeds(3)))
    assert folder.read()["base"]["task"] == sweep.base["task"]  # a refused one moves nothing
    open_folder(folder, plan(make(new).as_dict(), grids.seeds(2)))
    again = plan_of(folder.read(), folder.sweep)
    assert {path_of(one) for one in (*again.experiments, member.experiment())} == {str(new)}


def sweep_of(make, base, *files):
    """A sweep whose base config names a file, as do its members; "" for the base config's."""
    values = make(base).as_dict()
    field = "grammar_file" if "grammar_file" in values["task"] else "path"
    values["task"][make(base).task.hash_field] = ""  # as in a config
    return plan(values, [{f"task.{field}": str(one)} if one else {} for one in files])


def kept(folder, planned):
    """Make a folder a sweep's, with the run of its last member; gives that run."""
    open_folder(folder, planned)
    member = RunFolder(folder.group(planned.groups[-1].name).member(1))
    member.open_as_member(planned.experiments[-1], 0, 1, [])
    member.grammar.unlink(missing_ok=True)
    return member


@pytest.mark.parametrize("of_base", [False, True])
def test_a_sweep_over_several_files(kind, tmp_path, of_base):
    """Catches a file of one member that changed without a word, and one that cannot be moved."""
    make, file, other = kind
    folder = SweepFolder(tmp_path / "sweep")

    def sweep(one, two):
        return sweep_of(make, one, "" if of_base else one, two)

    planned = sweep(file, other)
    member = kept(folder, planned)
    open_folder(folder, sweep(file, other))
    assert plan_of(folder.read(), folder.sweep) == planned
    # Another content at the same place.
    content = other.read_text()
    other.write_text(file.read_text() + " \n")
    with pytest.raises(UserError, match=r"member 1 .*(is not what it was|than it did before)"):
        plan_of(folder.read(), folder.sweep)
    with pytest.raises(UserError, match=f"another sweep .{other} has another content than it had"):
        open_folder(folder, sweep(file, other))
    # The same content at other places.
    other.write_text(content)
    new = [one.rename(tmp_path / f"{i}.jsonl") for i, one in enumerate((file, other))]
    with pytest.raises(UserError, match=r"another sweep .*2 members there and 1 here"):
        open_folder(folder, sweep_of(make, *new[:1], ""))
    open_folder(folder, sweep(*new))
    again = plan_of(folder.read(), folder.sweep)
    assert [path_of(one) for one in again.experiments] == [*map(str, new)]
    assert path_of(member.experiment()) == str(new[1])
    assert str(other) not in folder.sweep.read_text()
    open_folder(folder, sweep(*new))


def test_a_sweep_over_several_files_of_an_earlier_version(kind, tmp_path):
    """Catches a file that changed taken for the sweep's, whose members know what it was."""
    make, file, other = kind
    folder, planned = SweepFolder(tmp_path / "sweep"), sweep_of(make, file, file, other)
    member = kept(folder, planned)
    earlier = {name: value for name, value in folder.read().items() if name != "hashes"}
    write_json(folder.sweep, earlier)
    content = other.read_text()
    other.write_text(file.read_text() + " \n")
    with pytest.raises(UserError, match=f"another sweep .{other} has another content than it had"):
        open_folder(folder, sweep_of(make, file, file, other))
    assert folder.read() == earlier
    other.write_text(content)
    open_folder(folder, planned)
    assert folder.read() == planned.as_dict()
    with pytest.raises(UserError, match=r"another sweep .*\(the same files, in another order"):
        open_folder(folder, sweep_of(make, file, other, file))
    write_json(folder.sweep, {**planned.as_dict(), "hashes": list(planned.hashes[:1])})
    with pytest.raises(UserError, match="is damaged: it has 1 hashes of 2 members"):
        folder.read()
    assert path_of(member.experiment()) == str(other)  # which has its own


def test_what_is_read_instead_is_said_once(tmp_path, monkeypatch, capsys):
    """Catches a line for each of the many times that one program reads a folder."""
    (tmp_path / "here").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    write(pathlib.Path(), *many(60))
    runs = [RunFolder(tmp_path / name) for name in ("one", "two")]
    for run in runs:
        run.open(of_documents("documents.jsonl"))
    monkeypatch.chdir(tmp_path / "elsewhere")
    write(pathlib.Path(), *many(80))
    capsys.readouterr()
    for run in (*runs, *runs):
        assert path_of(run.experiment()) == str(tmp_path / "here" / "documents.jsonl")
    told = [line for line in capsys.readouterr().err.splitlines() if "read instead" in line]
    assert [line.split(":")[0] for line in told] == [str(run.path) for run in runs]


def test_only_files_of_the_same_content_are_taken():
    """Catches a field that is no file, files of another content, and other tasks' files."""
    known = {"name": "documents", "path": "/a", "tokenizer": "/t.json", "sha256": "x", "dev": 0.1}
    given = {"name": "documents", "path": "/b", "tokenizer": "/u.json", "sha256": "x", "dev": 0.2}
    both = known | {"path": "/b", "tokenizer": "/u.json"}
    assert task_files.moved(known, given) == both
    assert task_files.moved(known, given | {"tokenizer": "bytes"}) == known | {"path": "/b"}
    derived = {"name": "treecall", "grammar_file": "/b", "grammar_sha256": "x"}
    for other in (given | {"sha256": "y"}, given | {"sha256": ""}, derived, {}, None):
        assert task_files.moved(known, other) == known
    assert task_files.moved(known | {"sha256": ""}, given | {"sha256": ""})["path"] == "/a"
    assert task_files.other_content(known, given | {"sha256": "y"})
    for alike in (given, given | {"sha256": ""}, derived | {"grammar_sha256": "y"}, {}, None):
        assert task_files.other_content(known, alike) == []
