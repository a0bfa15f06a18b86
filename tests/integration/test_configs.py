"""Configs build, say what they mean, and survive being written down."""

import copy
import dataclasses
import importlib
import json
import pathlib
import re

import pytest

from configs import (
    architectures_2026,
    capacity,
    documents,
    gated_attention,
    hybrids,
    linear_memories,
    memory,
    multi_query_recall,
    quickstart,
    recall,
    short_convolutions,
    treecall,
)
from configs.base import base
from configs.study import (
    ar_beta2,
    ar_filler,
    ar_further_seeds,
    ar_laptop,
    ar_layers,
    ar_mamba_next_rate,
    ar_mamba_training,
    ar_positions,
    ar_rates,
    ar_reverse,
    ar_second_rates,
    ar_seeds,
    ar_two_layers,
    ar_two_taps_of_based,
    ar_undecided_cells,
    ar_wide_base_conv,
    ar_wide_base_conv_rates,
    ar_wide_hyena,
    ar_wide_one_layer,
    ar_wide_reverse,
    ar_wide_reverse_mamba,
    ar_wide_two_layers,
    atr_held_out,
    atr_languages,
    atr_large_vocabulary,
    atr_long_expansions,
    atr_one_layer,
    atr_positions,
    atr_siblings,
    atr_two_layers,
    atr_wide_held_out,
    atr_without_convolution,
    based_kernels,
    mamba_taps,
)
from mecheval_jax.errors import UserError
from mecheval_jax.experiment import Experiment
from tests.support import forked, small
from tests.support.compilation import ROOT

CONFIGS = (
    architectures_2026,
    recall,
    treecall,
    multi_query_recall,
    memory,
    capacity,
    hybrids,
    linear_memories,
    documents,
    gated_attention,
    quickstart,
    short_convolutions,
    ar_laptop,
    ar_beta2,
    ar_filler,
    ar_further_seeds,
    ar_two_taps_of_based,
    ar_layers,
    ar_mamba_next_rate,
    ar_mamba_training,
    ar_positions,
    ar_rates,
    ar_reverse,
    ar_second_rates,
    ar_seeds,
    ar_two_layers,
    ar_undecided_cells,
    ar_wide_base_conv,
    ar_wide_base_conv_rates,
    ar_wide_hyena,
    ar_wide_one_layer,
    ar_wide_reverse,
    ar_wide_reverse_mamba,
    ar_wide_two_layers,
    atr_held_out,
    atr_languages,
    atr_large_vocabulary,
    atr_long_expansions,
    atr_one_layer,
    atr_positions,
    atr_siblings,
    atr_two_layers,
    atr_wide_held_out,
    atr_without_convolution,
    based_kernels,
    mamba_taps,
)

OTHER_POSITIONS = (ar_positions, atr_positions)
"""Experiments on the positions that a mixer does not have in the study."""

VARIED_POSITIONS = (ar_mamba_training, gated_attention)
"""Experiments whose members differ in their positions."""


def sweep_of(module):
    """The members of a config's sweep; of the study's, at its smallest scale."""
    return module.runs("laptop") if hasattr(module, "runs") else module.sweep()


def test_every_file_is_known_here():
    """Catches a config file that no test builds."""
    files = {p for p in (ROOT / "configs").rglob("*.py") if "def get_config" in p.read_text()}
    assert files == {pathlib.Path(module.__file__) for module in CONFIGS}


def test_a_mixer_for_each_layer():
    """Catches the mixers of a hybrid taken for further arguments, and these for mixers."""
    config = recall.get_config("width=32,mixer=mamba,attention,pairs=4")
    assert (config.model.mixer, config.model.width, config.task.pairs) == ("mamba,attention", 32, 4)
    with pytest.raises(UserError, match="'attention': write name=value"):
        recall.get_config("width=32,attention")


@pytest.mark.parametrize("module", CONFIGS)
@pytest.mark.parametrize("argument", ["", "smoke=True"])
def test_builds(module, argument):
    """Catches a field that the config sets and the code does not have, or the reverse."""
    config = module.get_config(argument)
    experiment = Experiment.from_config(config)
    fields = {field.name for field in dataclasses.fields(experiment.task)}
    assert set(config.task) - {"name"} == fields
    if argument:
        assert experiment.training.steps <= 50


SINGLE_RUNS = (ar_wide_hyena, ar_wide_reverse_mamba)
"""Sweeps of one member."""


@pytest.mark.parametrize("module", CONFIGS)
def test_sweeps_override_what_exists(module):
    """Catches an override of a field that is not there, or a value that cannot be."""
    overrides = sweep_of(module)
    assert len(overrides) == 1 if module in SINGLE_RUNS else len(overrides) >= 2
    assert len({json.dumps(o, sort_keys=True) for o in overrides}) == len(overrides)
    for values in overrides:
        config = module.get_config()
        config.lock()
        config.update_from_flattened_dict(values)
        experiment = Experiment.from_config(config).as_dict()
        for path, value in values.items():
            section, name = path.split(".")
            assert experiment[section][name] == value


@pytest.mark.parametrize("module", CONFIGS)
def test_a_sweep_gives_what_the_arguments_give(module):
    """Catches positions that a sweep leaves from the default mixer."""
    for values in sweep_of(module):
        config = module.get_config()
        config.update_from_flattened_dict(values)
        mixer = values["model.mixer"]
        alone = module.get_config("" if "," in mixer else f"mixer={mixer}")
        if module in VARIED_POSITIONS:
            assert config.model.positions == values["model.positions"]
            continue
        if module in OTHER_POSITIONS:
            assert config.model.positions != alone.model.positions
            continue
        if values.get("training.learning_rate", 0) < 1e-2:
            assert config.model.positions == alone.model.positions
        else:
            assert config.model.positions == "none"


MIXERS = {quickstart: ("based", "gated_delta_net"), capacity: ("mamba", "delta_net")}
"""Mixers that the configs with few of them have."""


@pytest.mark.parametrize("module", CONFIGS)
def test_a_sweep_of_mixers_does_not_depend_on_the_one_that_is_named(module):
    """Catches what one mixer needs, as a convolution before it, left to all others of its sweep."""
    one, other = (
        module.get_config(f"mixer={mixer}") for mixer in MIXERS.get(module, ("attention", "gla"))
    )
    for values in sweep_of(module):
        members = [copy.deepcopy(config) for config in (one, other)]
        for member in members:
            member.update_from_flattened_dict(values)
        assert members[0].to_dict() == members[1].to_dict()


def test_mamba_is_trained_in_one_other_way_at_a_time():
    """Catches a member that differs from the study in two things, or in none."""
    usual = Experiment.from_config(ar_two_layers.get_config("mixer=mamba,learning_rate=1e-2"))
    found = []
    for values in ar_mamba_training.sweep():
        config = ar_mamba_training.get_config()
        config.update_from_flattened_dict(values)
        member = Experiment.from_config(config)
        pairs = ((member.model, usual.model), (member.training, usual.training))
        found.append(
            [
                field.name
                for one, other in pairs
                for field in dataclasses.fields(one)
                if getattr(one, field.name) != getattr(other, field.name)
                and field.name != "keep_checkpoints"
            ]
        )
    names = ["training_batches", "positions", "decay", "training_batches", "shuffle"]
    assert found == [[name] for name in names]


@pytest.mark.parametrize("module", [each for each in CONFIGS if hasattr(each, "runs")])
def test_a_sweep_of_the_study_is_its_full_grid(module):
    """Catches a sweep of another scale, and members that are there twice."""
    overrides = module.sweep()
    assert overrides == module.runs("full")
    assert len({json.dumps(o, sort_keys=True) for o in overrides}) == len(overrides)


@pytest.mark.parametrize("task", memory.TASKS)
def test_memory_tasks_build(task):
    """Catches roles or corruptions that the task does not have, and a field it lacks."""
    experiment = Experiment.from_config(memory.get_config(f"task={task},smoke=True"))
    assert experiment.task_name == task
    assert set(memory.TASKS[task]) == {field.name for field in dataclasses.fields(experiment.task)}


@pytest.mark.parametrize(
    ("module", "argument", "message"),
    [
        (
            capacity,
            "state_bytes=5000",
            r"5,000 bytes: delta_net .* the nearest: 4,992 \(key_share=1.21875\)",
        ),
        (capacity, "pairs=0", r"pairs=0: at least 1"),
        (capacity, "mixer=mlstm,state_bytes=64", r"64 bytes: mlstm .* nearest: 1,344 \(heads=16\)"),
        (capacity, "width=0", "width 0: at least 1"),
        (hybrids, "layers=5", "layers=5: this hybrid has 2"),
        (hybrids, "attention=frist", r"'frist' \(did you mean 'first'\?\)"),
        (hybrids, "recurrent=mambo", r"'mambo' \(did you mean 'mamba'\?\)"),
        (multi_query_recall, "pairs=0", "config argument pairs=0: at least 1"),
        (multi_query_recall, "length=-8", "config argument length=-8: at least 1"),
        (gated_attention, "mamba", "config argument 'mamba': write name=value"),
    ],
)
def test_mistakes_in_memory_configs(module, argument, message):
    """Catches a state or a number of pairs that is rounded in silence, a hybrid of what is not
    there, and a word that is taken for the mixer of a further layer.
    """
    with pytest.raises(UserError, match=message):
        module.get_config(argument)


def test_every_field_is_commented():
    """Catches a field that nobody explains."""
    lines = (ROOT / "configs/base.py").read_text().splitlines()
    fields = [i for i, line in enumerate(lines) if re.match(r"\s+config\.\w+\.\w+ = ", line)]
    for i in fields:
        assert "# " in lines[i] or lines[i - 1].lstrip().startswith("# "), lines[i]
    assert len(fields) > 30


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("mixer=mambo", "'mambo'.*'mamba'"),
        ("widht=3", "'widht'.*'width'"),
        ("width=abc", "width=abc.*whole number"),
        ("smoke=1", "smoke=1.*True or False"),
        ("width", "name=value"),
    ],
)
def test_mistakes_in_arguments(argument, message):
    """Catches a typo that is ignored, or a message without what is valid."""
    with pytest.raises(UserError, match=message):
        Experiment.from_config(recall.get_config(argument))


OPTIONS = {"model.mixer_options": {"heads": 2, "bias": True}}


@pytest.mark.parametrize(
    "config", [*(module.get_config() for module in CONFIGS), {"task.min_pairs": 1} | OPTIONS]
)
def test_written_down_and_read_again_is_the_same(config):
    """Catches a value that JSON changes, such as a tuple or None."""
    experiment = (
        small.experiment(config) if isinstance(config, dict) else Experiment.from_config(config)
    )
    written = json.loads(json.dumps(experiment.as_dict()))
    assert Experiment.from_config(written) == experiment
    assert Experiment.from_config(written).fingerprint() == experiment.fingerprint()
    assert Experiment.from_config(written).as_dict() == written


def test_configs_import_without_side_effects():
    """Catches a config that runs something when it is imported."""
    for module in CONFIGS:
        assert importlib.reload(module).get_config.__doc__


def test_a_reverse_task_builds():
    """Catches default roles that a variant of the task does not have."""
    sections = base().to_dict()
    sections["task"]["reverse"] = True
    assert Experiment.from_config(sections).task.reverse


def test_reading_a_config_leaves_the_devices_alone():
    """Catches a config after which the number of devices cannot be set any more."""
    names = [config.__name__ for config in CONFIGS]
    program = (
        "import importlib, jax\n"
        f"for number, name in enumerate({names!r}, 1):\n"
        "    config = importlib.import_module(name)\n"
        "    config.get_config()\n"
        "    list(config.sweep()) if hasattr(config, 'sweep') else None\n"
        "    jax.config.update('jax_num_cpu_devices', number)\n"
    )
    done = forked.start(["-c", program])
    assert done.returncode == 0, done.stderr
