"""What is wrong with a command line is one line, and a fault of a config file is not hidden."""

import pytest
from absl import flags

from tests.support import forked
from tests.support.called import call, refused

FILES = {
    "arity": ("def get_config():\n    return 1\n", "get_config must be a function of one text"),
    "two": ("def get_config(a, b):\n    return 1\n", "get_config must be a function of one text"),
    "number": ("get_config = 5\n", "get_config must be a function of one text"),
    "syntax": ("def get_config(arg=''):\n  retur n\n", "syntax.py, line 2: invalid syntax"),
    "imports": ("import nonexistent_module\n", "cannot be imported: No module named"),
    "none": ("def get_config(arg=''):\n    return None\n", "get_config returned None"),
    "says": ("import sys\nsys.exit('give a path')\n", "ends the program (sys.exit): give a path"),
    "data": ("open('/none/such')\n", "/none/such"),
    "ends": ("import sys\nsys.exit(0)\n", "ends the program"),
    "bytes": ("a\0b", "null bytes"),
    # What jax says of a variable where a config file is the first to import it.
    "variable": (
        "try:\n    int('')\nexcept ValueError:\n"
        "    raise ValueError('Invalid value \"\" for JAX flag jax_num_cpu_devices')\n",
        'Invalid value "" for JAX flag jax_num_cpu_devices: unset that variable',
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_config_files_that_are_none(name, tmp_path):
    """Catches seventy lines of the flags' library, and success where nothing was done."""
    text, said = FILES[name]
    file = tmp_path / f"{name}.py"
    file.write_text(text)
    refused(call("inspect", f"--config={file}:x"), said, name)


FAULTS = {
    "its own error after another": (
        "try:\n    import nonexistent_module\nexcept ImportError:\n    raise ValueError('own')\n",
        ValueError,
    ),
    "an error inside of get_config": (
        "def helper(a):\n    pass\ndef get_config(arg=''):\n    helper()\n", TypeError
    ),
    "a key that is missing": ("def get_config(arg=''):\n    return {}['missing']\n", KeyError),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_a_config_file_is_not_hidden(name, tmp_path):
    """Catches a bug of a user's file explained as if its form or its name were wrong."""
    text, kind = FAULTS[name]
    folder = tmp_path / "my_config_flags"
    folder.mkdir()
    (folder / "mine.py").write_text(text)
    with pytest.raises((kind, flags.Error)) as raised:  # the flags' library wraps some
        call("inspect", f"--config={folder / 'mine.py'}")
    assert kind.__name__ in f"{type(raised.value).__name__} {raised.value}"


RECALL = "--config=configs/recall.py"
FLAGS = {
    "a flag file that is not there": (["inspect", RECALL, "--flagfile=/none"], "/none"),
    "a folder without a name": (["train", RECALL, "--workdir="], "--workdir is empty: give a"),
    "no values": (["sweep", RECALL, "--workdir={}/w", "--grid="], "--grid is empty: give a value"),
    "a field without a config": (
        ["train", "--config.training.steps=3", "--workdir={}/w"],
        "--config is missing, of which --config.training.steps is a field",
    ),
    "a field without its section": (
        ["train", RECALL, "--steps=3", "--workdir={}/w"], "(say --config.training.steps)"
    ),
    "an architecture": (
        ["train", RECALL, "--mixer=mamba", "--workdir={}/w"],
        "(say --config=configs/recall.py:mixer=... or --config.model.mixer)",
    ),
    "half a tuple": (
        ["train", RECALL, "--config.evaluation.corruptions=(1,", "--workdir={}/w"],
        "it takes a tuple",
    ),
    "no number": (
        ["train", RECALL, "--config.training.steps=abc", "--workdir={}/w"],
        "--config.training.steps=abc: it takes a whole number",
    ),
    "no section": (
        ["train", RECALL, "--config.training=abc", "--workdir={}/w"],
        "--config.training=abc: it takes a value as Python writes it",
    ),
    "neither true nor false": (["status", "--json=maybe", "--workdir=x"], "takes True or False"),
    "the last flag without its value": (
        ["intervene", "--workdir=x", "--sites"],
        "--sites is given without a value: Sites; the components",
    ),
    "a flag for the value of another": (
        ["intervene", "--sites", "--workdir=x"],
        "--sites is given without a value, and --workdir=x follows",
    ),
    "a flag that nothing lacks for the value of another": (
        ["intervene", "--workdir=x", "--roles", "--sites=all"],
        "--roles is given without a value, and --sites=all follows",
    ),
    "a field for the value of a flag": (
        ["cost", RECALL, "--workdir={}/w", "--mixers", "--config.model.width=8"],
        "--mixers is given without a value, and --config.model.width=8 follows",
    ),
    "a flag for a config": (
        ["train", "--config", "--workdir={}/w"], "--config is given without a value, and --workdir="
    ),
    "two folders": (["status", "{}", "x"], "--workdir is given 2 times"),
    "a list in two parts": (
        ["cost", RECALL, "--workdir={}/w", "--mixers=based", "--mixers=mamba"],
        "--mixers is given 2 times: give all values in one, with commas between them",
    ),
    "two configs": (["inspect", "recall", "--config=configs/base.py"], "--config is given 2 times"),
}  # fmt: skip


@pytest.mark.parametrize("name", FLAGS)
def test_flags(name, tmp_path):
    """Catches a flag that is dropped without a word, and what only Python understands."""
    arguments, said = FLAGS[name]
    refused(call(*(argument.format(tmp_path) for argument in arguments)), said)
    assert not (tmp_path / "w").exists()


def test_help_is_no_mistake():
    """Catches an exit code that means a fault."""
    done = forked.start(["-m", "launch.train", "--help"])
    assert done.returncode == 0, done.stderr
    assert "--workdir" in done.stdout
