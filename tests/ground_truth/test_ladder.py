"""The ladder: rungs are climbed once, go on where they were broken off, and end in tables."""

import pathlib

import jax
import jax.numpy as jnp
import pandas as pd
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.files import write_json
from mecheval_jax.ground_truth import ladder
from mecheval_jax.ground_truth.collection import Trained, load_collection, save_collection
from mecheval_jax.ground_truth.known_edges import KNOWN
from mecheval_jax.ground_truth.ladder import LadderRequest, climb, units_of
from mecheval_jax.store.folder import Folder
from tests.support import planted

ONE = "induction"


def test_known_edges_are_found(tmp_path, monkeypatch):
    """Catches a rung that is climbed again, and a method that misses what was planted."""
    monkeypatch.setattr(ladder, "KNOWN", {ONE: KNOWN[ONE]})
    monkeypatch.setattr(ladder, "EDGE_METHODS", ("exact", "eap_ig"))
    request = LadderRequest(tmp_path / "ladder", ("edges",), seeds=1)
    table = climb(request)["edges"]
    ranked = table[table["metric"] == "auroc"].set_index("method")["value"]
    assert ranked.drop("random").to_dict() == {"exact": 1.0, "eap_ig": 1.0}
    assert 0.3 < ranked["random"] < 0.7
    shares = table[table["metric"] == "recovered"].set_index("method")["value"]
    assert shares["exact"] == 1.0
    assert 0.1 < shares["eap_ig"] < 1.0
    assert (table["edges"] == 12).all()
    monkeypatch.setattr(ladder, "KNOWN", {ONE: None})  # what is known is not measured again
    pd.testing.assert_frame_equal(climb(request)["edges"], table)
    assert (tmp_path / "ladder" / "ground_truth.svg").exists()


def test_trained_models_are_judged_and_kept(tmp_path, monkeypatch):
    """Catches models that are judged and not kept, and a table that lacks one."""
    config, params, task = planted.induction(0)

    def train_to(config, task, mechanism, seeds, settings, say):
        say(settings.steps, {"answer": [0.0], "rules": [0.0]})
        return [params for _ in seeds]

    monkeypatch.setattr(ladder, "train_to", train_to)
    monkeypatch.setattr(ladder, "TRAINED", (("attention", "induction"),))
    monkeypatch.setattr(ladder, "shape_of", lambda mixer, mechanism: config)
    monkeypatch.setattr(ladder, "TASK", task)
    found = climb(LadderRequest(tmp_path / "ladder", ("trained",), seeds=2, steps=1))
    assert list(found["trained"]["seed"]) == [0, 1]
    assert list(found["trained"]["grade"]) == ["right", "right"]
    kept = load_collection(tmp_path / "ladder" / "models.safetensors")
    assert [model.seed for model in kept] == [0, 1]
    table = pd.read_csv(tmp_path / "ladder" / "confusion.csv")
    assert list(table["induction"]) == [2]
    # Another request in the same folder keeps its own models, and not those of this one.
    climb(LadderRequest(tmp_path / "ladder", ("trained",), seeds=1, steps=2))
    kept = load_collection(tmp_path / "ladder" / "models.safetensors")
    assert [model.seed for model in kept] == [0]
    climb(LadderRequest(tmp_path / "ladder", ("trained",), seeds=2, steps=1))
    kept = load_collection(tmp_path / "ladder" / "models.safetensors")
    assert [model.seed for model in kept] == [0, 1]
    # A file of models that is gone is not left out silently.
    (lost,) = (tmp_path / "ladder" / "models").glob("*2_seeds*.safetensors")
    lost.unlink()
    with pytest.raises(UserError, match=r"2_seeds_1_steps\.safetensors is missing, though"):
        climb(LadderRequest(tmp_path / "ladder", ("trained",), seeds=2, steps=1))


def test_a_collection_is_judged(tmp_path):
    """Catches a collection whose models are judged by another's name."""
    config, params, task = planted.induction(0)
    models = [Trained("induction", 0, config, params, task)]
    file = tmp_path / "ladder" / "models.safetensors"  # as an earlier request leaves them
    file.parent.mkdir()
    save_collection(file, models)
    request = LadderRequest(tmp_path / "ladder", ("collection",), collection=file)
    found = climb(request)
    assert list(found["collection"]["grade"]) == ["right"]
    assert len(load_collection(file)) == 1
    blank = jax.tree.map(jnp.zeros_like, params)
    save_collection(file, [Trained("induction", 0, config, blank, task)])
    assert list(climb(request)["collection"]["grade"]) == ["not learned"]  # not the other's rows
    assert list(found["confusion"]["induction"]) == [1]


@pytest.mark.parametrize("rows", [[], [{}], [{"kind": ONE, "seed": 0}]])
def test_a_damaged_part_is_named(rows, tmp_path, monkeypatch):
    """Catches a traceback, and a table without a row of a unit that is there."""
    monkeypatch.setattr(ladder, "KNOWN", {ONE: KNOWN[ONE]})
    part = tmp_path / "parts" / "edges" / f"{ONE}_seed_0.json"
    part.parent.mkdir(parents=True)
    write_json(part, {"rows": rows})
    with pytest.raises(UserError, match=r"seed_0\.json is damaged: it has no rows.*; remove it"):
        climb(LadderRequest(tmp_path, ("edges",), seeds=1))


def test_a_damaged_part_is_named_before_others_are_measured(tmp_path, monkeypatch):
    """Catches hours of computation that end in a line about a file that was there before."""
    monkeypatch.setattr(ladder, "KNOWN", {ONE: KNOWN[ONE]})
    monkeypatch.setattr(ladder, "grade_edges", lambda kind, seed: pytest.fail("it was measured"))
    part = tmp_path / "parts" / "edges" / f"{ONE}_seed_1.json"
    part.parent.mkdir(parents=True)
    write_json(part, {"rows": []})
    with pytest.raises(UserError, match=r"seed_1\.json is damaged"):
        climb(LadderRequest(tmp_path, ("edges",), seeds=2))


def test_damaged_models_are_named_before_others_are_trained(tmp_path, monkeypatch):
    """Catches a file of models that is found to be damaged when all others have been trained."""
    monkeypatch.setattr(ladder, "TRAINED", (("mamba", "induction"), ("attention", "induction")))
    monkeypatch.setattr(ladder, "train_and_judge", lambda *asked: pytest.fail("it was trained"))
    request = LadderRequest(tmp_path, ("trained",), seeds=1, steps=1)
    name = "attention_to_induction_1_seeds_1_steps"
    for folder in ("parts/trained", "models"):
        (tmp_path / folder).mkdir(parents=True)
    row = dict.fromkeys(ladder.COLUMNS["trained"], 0) | {"grade": "right"}
    write_json(tmp_path / "parts" / "trained" / f"{name}.json", {"rows": [row]})
    for ending in ("safetensors", "json"):
        (tmp_path / "models" / f"{name}.{ending}").write_text("{}")
    with pytest.raises(UserError, match=rf"{name}\.\w+ is damaged"):
        climb(request)


def test_models_of_an_earlier_request_do_not_stay(tmp_path, monkeypatch):
    """Catches a file of models, or a table, that the figure beside it is not about."""
    monkeypatch.setattr(ladder, "TRAINED", (("attention", "induction"),))
    monkeypatch.setattr(
        ladder,
        "train_and_judge",
        lambda request, mixer, mechanism: [
            dict.fromkeys(ladder.COLUMNS["trained"], 0) | {"grade": "not learned", "verdict": "x"}
        ],
    )
    earlier = ("models.safetensors", "models.json", "edges.csv", "collection.csv")
    for name in earlier:
        (tmp_path / name).write_text("{}")
    climb(LadderRequest(tmp_path, ("trained",), seeds=1, steps=1))
    assert not [name for name in earlier if (tmp_path / name).exists()]
    assert (tmp_path / "trained.csv").exists()
    assert (tmp_path / "parts").is_dir()


def test_units_have_files_of_their_own():
    """Catches a model that gets the rows of another whose name differs in its capitals alone."""
    names = [f"m:Rota{letter} to induction, seed 0" for letter in "AB"]
    assert len({ladder._file_name(name) for name in (*names, "m_a b", "m.a b")}) == 4
    assert (
        ladder._file_name("gated_delta_net to mixed, seed 1") == "gated_delta_net_to_mixed_seed_1"
    )


def test_no_link_leads_out_of_the_folder(tmp_path):
    """Catches a folder from elsewhere through which other files are overwritten."""
    (tmp_path / "ladder").mkdir()
    (tmp_path / "ladder" / "parts").symlink_to(tmp_path)
    with pytest.raises(UserError, match="ladder/parts is a link that leads out"):
        climb(LadderRequest(tmp_path / "ladder"))


def test_a_folder_of_something_else(tmp_path):
    """Catches tables that are written between the files of a run."""
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="is not empty and holds no results of known circuits"):
        climb(LadderRequest(tmp_path))


def test_one_program_climbs_in_a_folder(tmp_path):
    """Catches two programs that write the same tables in turn."""
    request = LadderRequest(tmp_path)
    with Folder(tmp_path).lock("ladder"), pytest.raises(UserError, match="ladder"):
        climb(request)


def test_every_rung_has_its_units(tmp_path):
    """Catches a kind, an architecture or a seed that the ladder leaves out."""
    request = LadderRequest(tmp_path, seeds=3)
    count = {rung: len(list(units_of(rung, request))) for rung in ladder.RUNGS}
    assert count == {
        "edges": 3 * len(KNOWN),
        "subspaces": 3,
        "trained": len(ladder.TRAINED),
        "collection": 0,
    }


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rungs": ("edge",)}, r"unknown --rungs 'edge' \(did you mean 'edges'"),
        ({"rungs": ()}, r"--rungs is empty"),
        ({"seeds": 0}, r"--seeds=0"),
        ({"seeds": 10**11}, r"--seeds=100000000000 .* 1 to 1,000 seeds"),
        ({"rungs": ("edges",), "steps": 5}, r"--steps=5 is for --rungs=trained"),
        ({"collection": pathlib.Path("x")}, r"--collection=x is for --rungs=collection"),
        ({"rungs": ("edges", "edges")}, r"--rungs names edges twice"),
        ({"rungs": ("collection",)}, r"needs --collection"),
    ],
)
def test_mistakes_are_named(fields, message, tmp_path):
    """Catches a ladder that is begun though it cannot be climbed."""
    with pytest.raises(UserError, match=message):
        LadderRequest(tmp_path, **fields)
