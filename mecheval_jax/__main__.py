"""The console command: ``mecheval PROGRAM ...`` is ``python -m launch.PROGRAM ...`` anywhere.

mecheval train recall:mixer=mamba,width=64 --workdir=runs/mamba
mecheval report runs/mamba
"""

import os
import runpy
import sys
import textwrap

import mecheval_jax
from mecheval_jax import completion, programs
from mecheval_jax.errors import USAGE_ERROR, UserError, choose


def main() -> None:
    """Run the program that the first argument names.

    Raises:
        SystemExit: With code 2 if there is no such program, or with the program's own code.
    """
    words = sys.argv[1:]
    if not words or words[0] in ("help", "--help", "-h"):
        print(overview())
    elif words[0] == "--version":
        print(f"{programs.COMMAND} {mecheval_jax.__version__}")
    else:
        try:
            if words[0] == "completion":
                print(completion.script(words[1] if len(words) > 1 else ""))
                return
            choose("program", words[0], [*programs.names(), "completion"])
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(USAGE_ERROR)
        start(words[0], words[1:])


def overview() -> str:
    """The purpose of each program, and the first commands to try."""
    width = max(map(len, programs.names()))
    listed = "\n".join(
        f"  {name:{width}}  {programs.documentation(name).splitlines()[0]}"
        for name in programs.names()
    )
    command = programs.COMMAND
    return (
        "Mechanistic evaluation of sequence models: train them, cut into them, say how they "
        f"recall.\n\nUsage: {command} PROGRAM [CONFIG or FOLDER] [--flag=value ...]\n\n"
        f"Programs:\n{listed}\n\n"
        "To begin with:\n"
        f"  {command} train recall:mixer=based,width=32,smoke=True --workdir=runs/based\n"
        f"  {command} intervene runs/based\n"
        f"  {command} report runs/based\n\n"
        + textwrap.fill(
            f"{command} PROGRAM --help describes a program and its flags; {command} completion "
            "bash (or zsh, fish) prints completions for a shell. Configs by name: "
            f"{', '.join(programs.config_names())}.",
            width=96,
        )
    )


def start(program: str, arguments: list[str]) -> None:
    """Run a program in this process as ``python -m`` does; its child processes find it, too."""
    root = str(programs.ROOT)
    sys.path.insert(0, root)
    known = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([root, known] if known else [root])
    sys.argv = [f"{programs.COMMAND} {program}", *arguments]
    runpy.run_module(f"launch.{program}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
