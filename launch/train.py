r"""Train one model.

    python -m launch.train --config=configs/recall.py:mixer=based,pairs=4,keys=32,steps=2500 \
        --config.training.learning_rate=3e-3 --config.training.training_batches=400 --workdir=DIR

The same command resumes an interrupted run, and skips a finished one. With ``--mesh=2,2,2`` a
model is spread over devices (docs/sharding.md); a run may resume on another mesh. On several hosts
(``--coordinator=HOST:PORT --processes=N --process_id=I``, or in a cluster, which provides these) it
is one run on all their devices; see docs/hosts.md.
"""

from absl import flags

from mecheval_jax import command_line

CONFIG = command_line.define_config()
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
WRITERS = command_line.define_writers()
MESH = flags.DEFINE_string(
    "mesh", "-1,1,1", "Devices along data, fsdp and model; -1: the devices that are left."
)
flags.mark_flag_as_required("config")


def main():
    """Run the program."""
    from mecheval_jax import runs
    from mecheval_jax.experiment import Experiment
    from mecheval_jax.partitioning.mesh import make_mesh, parse_mesh

    mesh = make_mesh(shape=parse_mesh(MESH.value))
    runs.train(Experiment.from_config(CONFIG.value), WORKDIR.value, mesh, WRITERS.value)


if __name__ == "__main__":
    command_line.run(main, many_hosts=True)
