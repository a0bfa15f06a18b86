"""What a choice among architectures leaves in a sweep's folder, without any training."""

import pandas as pd

from mecheval_jax.files import write_json, write_table
from mecheval_jax.store.choice import COLUMNS, Advice, ChoiceFolder, FurtherRun, Paragraph
from mecheval_jax.store.run_folder import RunFolder

ADVICE = Advice(
    "recommended",
    {"group": "000_attention_width_16", "mixer": "attention", "width": 16, "learning_rate": 0.01},
    (
        Paragraph("answer", "Take attention <b>of width 16</b>.", {"accuracy": 0.995}),
        Paragraph("uncertain", "Three seeds are few.", {}),
    ),
    (FurtherRun("more seeds", "python -m launch.choose --seeds=5"),),
)

SHAPES = (  # mixer, accuracy, seconds of a token in training, bytes of the state, on a front
    ("attention", 0.995, 3.1e-5, 3.2e5, True),
    ("mamba", 0.61, 2.2e-5, 2.3e4, True),
    ("based", 0.81, 4.3e-5, 4.4e5, False),
)


def choice_rows():
    """Rows of ``choice.csv``, in which no two numbers of a row are the same."""
    rows = []
    for index, (mixer, accuracy, seconds, size, front) in enumerate(SHAPES):
        row = dict.fromkeys(COLUMNS) | {"group": f"{index:03d}_{mixer}_width_16", "mixer": mixer}
        row |= {"width": 16, "layers": 2, "parameters": 12_345 + index, "state": "learned"}
        row |= {"accuracy": accuracy, "low": accuracy - 0.07, "high": min(accuracy + 0.05, 1.0)}
        row |= {"memorised": mixer == "mamba"}
        row |= {"floor": 0.25, "members": 3, "learned": 2, "lowest": accuracy - 0.2}
        row |= {"verdict": "induction", "probability": 0.91, "agreement": 0.67}
        row |= {"concentration": 0.93, "concentration_low": 0.88, "concentration_high": 0.97}
        row |= {"length": 1024, "training_tokens_per_second": 1 / seconds, "state_bytes": size}
        for name, share in (("training", 1.0), ("prefill", 900.0), ("decode", 31.0)):
            value = seconds * share
            row |= {f"{name}_seconds": value, f"front_{name}": front}
            row |= {f"{name}_seconds_low": 0.9 * value, f"{name}_seconds_high": 1.2 * value}
        rows.append(row | {"front_state": front, "front_concentration": not front})
    return rows


def add_choice(path):
    """Write the files of a choice into a sweep's folder."""
    folder = ChoiceFolder(path)
    folder.write_choice(pd.DataFrame(choice_rows()))
    folder.write_advice(ADVICE)
    folder.cost.path.mkdir()
    rows = [
        {
            "model": mixer,
            "mixer": mixer,
            "width": 16,
            "layers": 2,
            "length": length,
            "program": program,
            "flops_per_token": 1e6 + length,
        }
        | {"temporary_bytes": 1e5 * length, "state_bytes": size, "joules_per_token": None}
        | {"seconds": length * seconds, "low": 0.9 * length * seconds, "reason": None}
        | {"high": 1.2 * length * seconds, "seconds_per_token": seconds}
        | {"tokens_per_second": 1 / seconds, "bytes_per_token": 7e3 + length}
        for mixer, _, seconds, size, _ in SHAPES
        for length in (128, 1024)
        for program in ("training", "prefill", "decode")
    ]
    write_table(folder.cost.costs, pd.DataFrame(rows))
    crossed = {"model": "mamba", "against": "attention", "program": "training"}
    crossed |= {"quantity": "seconds", "length": 700.0, "low": 512.0, "high": 900.0, "note": None}
    write_table(folder.cost.crossovers, pd.DataFrame([crossed]))
    machine = {"device": "a made-up device", "platform": "cpu"}
    machine |= {"matrix_gflops": 1234.5, "memory_gbytes_per_second": 67.89}
    write_json(folder.cost.machine, machine)
    return folder


def runs_of(group):
    """The run folders of the members of a group."""
    return [RunFolder(path) for path in sorted(group.members.glob("*"))]
