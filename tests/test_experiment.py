"""A config as one checked value: what cannot be, and what a fingerprint sees."""

import json

import numpy as np
import pytest

from configs.base import base
from mecheval_jax.errors import UserError
from mecheval_jax.experiment import Experiment, difference_words, documents_asked
from tests.support import document_lines, small


def test_more_documents_than_there_are(tmp_path):
    """Catches a flag of one program that is advised by all, and a number without its flag."""
    path = document_lines.write(tmp_path, *document_lines.many(300))
    values = {"task": {"name": "documents", "path": path}, "evaluation.roles": ("key", "value")}
    changes = {"evaluation.documents": 5, "training.evaluation_documents": 5}
    experiment = small.experiment(values | {"evaluation.corruptions": ("key",)} | changes)
    with pytest.raises(UserError) as raised:
        experiment.with_evaluation(documents=5000)
    there = experiment.task.sizes()["test"]
    assert str(raised.value) == (
        f"evaluation.documents is 5000, and split 'test' has {there} documents: give "
        f"evaluation.documents={there} or less (beside --config=...: "
        f"--config.evaluation.documents={there}), or more documents"
    )


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("model.mixer_options", {"heads": 3}, "64 is not divisible by 3 heads"),
        ("model.mixer_options", {"d_cov": 3}, "no option 'd_cov'"),
        ("model.mixer_options", {"heads": "x"}, "heads is 'x'"),
        ("model.mixer_options", {"heads": 0}, "heads is 0: a whole number, at least 1"),
        ("model.max_length", 8, "max_length 8"),
        ("model.layers", 0, "layers is 0"),
        ("task.pairs", 200, "200 pairs"),
        ("task.name", "recal", "'recal'"),
        ("training.decay", "cosin", "'cosin'.*'cosine'"),
        ("training.steps", 0, "steps is 0"),
        ("training.learning_rate", -1.0, "learning_rate is -1"),
        ("training.training_batches", 0, "training_batches is 0"),
        ("evaluation.directions", ("restor",), "'restor'.*'restore'"),
        ("evaluation.split", "tests", "'tests'.*'test'"),
        ("evaluation.confidence", 1.5, "confidence is 1.5"),
    ],
)
def test_values_that_cannot_be(path, value, message):
    """Catches a mistake that would surface only after compute is spent."""
    sections = base().to_dict()
    section, name = path.split(".")
    sections[section][name] = value
    if path == "task.pairs":
        sections["task"]["key_vocabulary"] = 128
    with pytest.raises(UserError, match=message):
        Experiment.from_config(sections)


def test_fields_that_differ_are_counted():
    """Catches a list of differences that ends in silence."""
    one = small.experiment()
    few = {"training.seed": 5, "training.batch_size": 3, "training.steps": 7, "task.pairs": 3}
    few["training.data_seed"] = 8
    words = difference_words(one, small.experiment(few))
    assert len(words) == 5
    assert words[0].startswith("task.pairs is ")
    more = few | {"training.learning_rate": 0.5, "training.weight_decay": 0.3}
    words = difference_words(one, small.experiment(more))
    assert len(words) == 5
    assert words[-1] == "and 3 fields more"


def test_missing_parts_are_named():
    """Catches a KeyError for a config without a section or field."""
    sections = base().to_dict()
    del sections["training"]["steps"]
    with pytest.raises(UserError, match="training lacks steps"):
        Experiment.from_config(sections)
    del sections["training"]
    with pytest.raises(UserError, match="'training'"):
        Experiment.from_config(sections)


FIELDS = [
    (section, name)
    for section, values in small.experiment().as_dict().items()
    for name in values
    if name != "name" and section != "analyses"
]
"""All but the name of the task, of which there is only one, and the options of analyses."""


OTHER_WORDS = {
    "mixer": "based",
    "positions": "learned",
    "feed_forward": "none",
    "decay": "linear",
    "split": "dev",
    "min_pairs": 1,
    "held_out": 0.3,
    "training_batches": 3,
    "mixer_options": {"heads": 2},
    "dtype": "bfloat16",
    "activation": "silu",
    "norm": "rms",
    "output_norm": "rms",
    "roles": ["key"],
    "corruptions": ["value"],
    "directions": ["restore"],
    "beta2": 0.9,
    "target_accuracy": 0.5,
    "remat": "full",
    "mamba_feed_forward": "mlp",
    "canon_at": "B",
}


@pytest.mark.parametrize(("section", "name"), FIELDS)
def test_fingerprint_sees_what_the_model_depends_on(section, name):
    """Catches a fingerprint that ignores a field, or minds the evaluation or the analyses."""
    with_a_set = {"evaluation.roles": ("key", "value"), "training.training_batches": 2}
    written = small.experiment(with_a_set).as_dict()
    value = written[section][name]
    if name in OTHER_WORDS:
        changed = OTHER_WORDS[name]
    elif isinstance(value, bool):
        changed = not value
    else:
        changed = value + (1 if isinstance(value, int) else 0.01)
    before = Experiment.from_config(written).fingerprint()
    written[section][name] = changed
    after = Experiment.from_config(written).fingerprint()
    assert (after == before) == (section == "evaluation")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("task.pairs", np.int64(2)),
        ("model.width", np.int32(16)),
        ("model.mixer_options", {"heads": np.int64(1)}),
        ("training.learning_rate", np.float32(0.5)),
        ("training.exempt_from_decay", np.bool_(True)),
        ("evaluation.documents", np.int64(16)),
    ],
)
def test_values_that_numpy_made(path, value):
    """Catches values that are taken, and that no folder can hold: found when training begins."""
    written = small.experiment().as_dict()
    section, name = path.split(".")
    written[section][name] = value
    experiment = Experiment.from_config(written)
    again = json.loads(json.dumps(experiment.as_dict()))
    assert again[section][name] == value
    assert Experiment.from_config(again) == experiment


def test_fingerprint_does_not_mind_analyses():
    """Catches a run that is another one because it shall be analysed in another way."""
    experiment = small.experiment()
    other = experiment.with_analyses(["probes.ridge=0.5"])
    assert other.fingerprint() == experiment.fingerprint()
    assert Experiment.from_config(other.as_dict()) == other != experiment


def test_configs_from_before_the_options_of_analyses():
    """Catches a run of an older version that cannot be loaded."""
    experiment = small.experiment()
    values = experiment.as_dict()
    del values["analyses"]
    assert Experiment.from_config(values) == experiment


def test_options_of_analyses_are_checked():
    """Catches a misspelt option that is passed over."""
    values = small.experiment().as_dict()
    values["analyses"]["probes"]["riddge"] = 1
    with pytest.raises(UserError, match=r"field of analyses.probes 'riddge' \(did you mean"):
        Experiment.from_config(values)
    values["analyses"] = {"probe": {}}
    with pytest.raises(UserError, match=r"field of analyses 'probe' \(did you mean 'probes'"):
        Experiment.from_config(values)


def test_which_documents_are_the_same():
    """Catches one file at two places taken for two tasks, and two splits for one."""
    one = {
        "task": {"name": "documents", "path": "a", "sha256": "x"},
        "evaluation": {"split": "dev"},
    }
    elsewhere = one | {"task": one["task"] | {"path": "/b/a"}}
    assert documents_asked(one) == documents_asked(elsewhere)
    cut = one | {"task": one["task"] | {"tokenizer": "a.json"}}
    cut_elsewhere = one | {"task": elsewhere["task"] | {"tokenizer": "/b/a.json"}}
    assert documents_asked(cut) == documents_asked(cut_elsewhere)
    derived, derived_elsewhere = (
        one | {"task": {"name": "treecall", "grammar_file": path, "grammar_sha256": "x"}}
        for path in ("a.json", "/b/a.json")
    )
    assert documents_asked(derived) == documents_asked(derived_elsewhere)
    for other in (
        one | {"evaluation": {"split": "test"}},
        one | {"task": one["task"] | {"sha256": "y"}},
        one | {"task": {"name": "documents", "path": "a"}},
    ):
        assert documents_asked(other) != documents_asked(one)
