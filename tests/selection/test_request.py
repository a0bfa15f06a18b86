"""What may be asked of a choice, and every mistake in asking: one line, code 2, nothing made."""

import dataclasses

import pytest
from ml_collections import ConfigDict

from configs import documents as documents_config
from mecheval_jax.errors import UserError
from mecheval_jax.selection import request
from mecheval_jax.selection.documents import fitted
from mecheval_jax.selection.request import ChoiceRequest
from tests.support import document_lines, forked, small

EXPERIMENT = small.experiment(learning_rate=3e-3)


def test_defaults():
    """Catches a hybrid without layers for it, and defaults that ignore the config."""
    asked = ChoiceRequest(EXPERIMENT)
    assert asked.mixers == (*request.MIXERS, "mamba,attention")
    assert asked.widths == (16, 8)
    assert asked.rates == (3e-3, 1e-3, 9e-3)
    length = EXPERIMENT.task.max_length
    assert asked.lengths == (length, 4 * length, 16 * length)
    assert request.default_mixers(1) == request.MIXERS
    assert request.default_mixers(3)[-1] == "mamba,attention,mamba"


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("20m", 1200), ("1h30m", 5400), ("0.5h", 1800)]
)
def test_budgets(text, seconds):
    assert request.parse_budget(text) == seconds
    assert request.parse_budget(None) is None


@pytest.mark.parametrize("text", ["0s", "1d", "h", 400 * "9" + "h"])
def test_budgets_that_are_no_time(text):
    """Catches a traceback for a number that is infinite."""
    with pytest.raises(UserError, match="a time such as 90s, 30m, 2h or 1h30m"):
        request.parse_budget(text)


def test_a_rate_of_zero():
    """Catches rates around 0 that are refused for being named twice, by nobody."""
    training = dataclasses.replace(EXPERIMENT.training, learning_rate=0.0)
    with pytest.raises(UserError, match="--learning_rates has 0: above 0"):
        ChoiceRequest(dataclasses.replace(EXPERIMENT, training=training))


@pytest.mark.parametrize(
    ("seconds", "text"), [(90, "90s"), (1200, "20m"), (5400, "90m"), (7200, "2h"), (9000, "2h30m")]
)
def test_times_in_words(seconds, text):
    assert request.words_of_time(seconds) == text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cheapest": "price"}, "unknown cost of --cheapest 'price'"),
        ({"mixers": ("mambo",)}, "unknown mixer 'mambo'"),
        ({"mixers": ("based", "based")}, "--mixer names based twice"),
        ({"mixers": ("based,mamba,based",)}, "3 mixers for 2 layers"),
        ({"seeds": 0}, "--seeds is 0"),
        ({"length": -4}, "--length is -4"),
        ({"length": 1}, "--length is 1: 2 to 134,217,727"),
    ],
)
def test_what_cannot_be_asked(changes, message):
    """Catches a shape that is refused after an hour of training the others."""
    with pytest.raises(UserError, match=message):
        ChoiceRequest(EXPERIMENT, **changes)


def test_commands_are_given_again():
    """Catches advice whose commands lack the user's own flags, or have another folder's."""
    given = ["--documents=my file.jsonl", "--budget=20m", "--seeds=2", "--workdir=runs/a"]
    found = request.Commands(tuple(given), "runs/a")
    program = "python -m launch.choose"
    assert found.whole == f"{program} '--documents=my file.jsonl' --budget=20m --seeds=2 " + (
        "--workdir=runs/a"
    )
    assert found.beside("rates", "--seeds=5") == (
        f"{program} '--documents=my file.jsonl' --workdir=runs/a_rates --seeds=5"
    )
    own = request.Commands(tuple(given), "runs/a", "my mixers")
    assert own.whole == f"PYTHONPATH='my mixers' {found.whole}"
    assert own.beside("rates").startswith(f"PYTHONPATH='my mixers' {program} ")


def test_flags_of_another_command_replace_those_given():
    """Catches a command with two numbers of steps, of which a reader takes the first."""
    for given in (("--steps=100",), ("--steps", "100")):
        found = request.Commands(("--documents=F", *given), "DIR").beside("steps", "--steps=300")
        assert found.endswith("--documents=F --workdir=DIR_steps --steps=300")


def test_an_experiment_of_a_config_or_of_documents(tmp_path):
    """Catches a path with commas or equals signs read as arguments of the config."""
    path = tmp_path / "a=b,c.jsonl"
    path.write_text("\n".join(document_lines.many(300)))
    found = request.experiment_of(None, str(path), documents_config.get_config)
    assert found.task.path == str(path)
    fewer = request.experiment_of(None, str(path), documents_config.get_config, steps=300)
    # Evaluated as often in fewer steps, as the config of so many steps would be.
    config = documents_config.get_config("steps=300")
    config.task.path = str(path)
    assert fewer.training == fitted(config.to_dict()).training != found.training
    recall = ConfigDict(EXPERIMENT.as_dict())
    given = request.experiment_of(recall, None, documents_config.get_config, steps=200)
    assert given.training.steps == 200
    for given in ((None, None), (documents_config.get_config(), str(path))):
        with pytest.raises(UserError, match="give either --documents"):
            request.experiment_of(*given, documents_config.get_config)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either --documents=FILE.jsonl or --config=FILE.py: neither is"),
        (["--documents={few}"], "has too few documents for three splits"),
        (["--documents={folder}/none.jsonl"], "cannot be read"),
        (["--documents={bad}"], "has 1 bad line"),
        (["recall", "--budget=soon"], "--budget=soon: a time such as"),
        (["recall", "--steps=0"], "training.steps is 0"),
        (["recall", "--widths=wide"], "--widths=wide: whole numbers"),
        (["recall", "--widths=32,64,32"], "--widths names 32 twice"),
        (["recall", "--learning_rates=1e39"], "--learning_rates has 1e+39: above 0"),
        (["recall", "--learning_rates=1e-39"], "--learning_rates has 1e-39: above 0, 1.2e-38"),
        (["recall", "--seeds=99999999999"], "--seeds is 99999999999: 1 to 1,000"),
        (
            ["recall:smoke=True", "--workdir={full}"],
            "holds no choice, but something",
        ),
    ],
)
def test_mistakes(arguments, message, tmp_path):
    """Catches a traceback, and a mistake that is found after the measurement."""
    (tmp_path / "few.jsonl").write_text("\n".join(document_lines.many(30)))
    (tmp_path / "bad.jsonl").write_text("{}\n")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "something").write_text("")
    names = {name: tmp_path / f"{name}.jsonl" for name in ("few", "bad")}
    names |= {"folder": tmp_path, "full": tmp_path / "full"}
    told = [argument.format(**names) for argument in arguments]
    new = [] if "--workdir={full}" in arguments else [f"--workdir={tmp_path / 'new'}"]
    done = forked.start(["-m", "launch.choose", *told, *new])
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert not (tmp_path / "new").exists()
