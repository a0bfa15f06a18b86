"""Shell completions of the console command: programs, configs, flags, folders.

source <(mecheval completion bash)
"""

import importlib
import sys
from typing import Any

from absl import flags

from mecheval_jax import programs, trust
from mecheval_jax.errors import choose

SHELLS = ("bash", "zsh", "fish")


def script(shell: str) -> str:
    """The completion script of a shell, with all names that exist now.

    Raises:
        UserError: If the shell is unknown.
    """
    choose("shell", shell, SHELLS)
    table = {name: program_flags(name) for name in programs.names()}
    return _fish(table) if shell == "fish" else _bash(table, zsh=shell == "zsh")


def described_flags(program: str) -> list[tuple[str, str, Any]]:
    """Name, meaning and default of the flags that a program defines itself, sorted.

    Programs share names of flags (``--workdir``), and absl knows each name once: the flags of a
    program are removed again after they were read.
    """
    sys.path.insert(0, str(programs.ROOT))
    of = flags.FLAGS.find_module_defining_flag
    known = [name for name in flags.FLAGS if not of(name, "").startswith("absl")]
    others = {name: flags.FLAGS[name] for name in known}
    for name in others:  # those of the calling program may have the same names
        delattr(flags.FLAGS, name)
    before = set(flags.FLAGS)
    module = importlib.import_module(f"launch.{program}")
    added = set(flags.FLAGS) - before  # absl's own too, if it is the first program
    own = sorted(name for name in added if not of(name, "").startswith("absl"))
    found = [(name, flags.FLAGS[name].help, flags.FLAGS[name].default) for name in own]
    for name in own:
        delattr(flags.FLAGS, name)
    for name, flag in others.items():
        flags.FLAGS[name] = flag
    del sys.modules[module.__name__], sys.path[0]
    return found


def program_flags(program: str) -> list[str]:
    """Names of the flags that a program defines itself, sorted."""
    return [name for name, _, _ in described_flags(program)]


def takes_config(own: list[str]) -> bool:
    """Whether the first word of a program is a config and not a folder."""
    return "config" in own


def _bash(table: dict[str, list[str]], zsh: bool) -> str:
    cases = "\n".join(
        f"    {name}) flags='{' '.join([*(f'--{flag}=' for flag in own), f'--{trust.FLAG}'])}'"
        f" first='{' '.join(programs.config_names()) if takes_config(own) else ''}' ;;"
        for name, own in table.items()
    )
    begin = "autoload -U +X bashcompinit && bashcompinit\n" if zsh else ""
    command = programs.COMMAND
    return f"""{begin}_{command}() {{
  local word="${{COMP_WORDS[COMP_CWORD]}}" flags='' first=''
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W '{" ".join([*table, "completion"])}' -- "$word"))
    return
  fi
  case "${{COMP_WORDS[1]}}" in
{cases}
    completion) first='{" ".join(SHELLS)}' ;;
  esac
  case "$word" in
    -*) COMPREPLY=($(compgen -W "$flags" -- "$word")) ;;
    *) COMPREPLY=($(compgen -W "$first" -- "$word") $(compgen -f -- "$word")) ;;
  esac
}}
complete -o nospace -F _{command} {command}"""


def _fish(table: dict[str, list[str]]) -> str:
    command = programs.COMMAND
    lines = []
    for name in table:
        summary = programs.documentation(name).splitlines()[0].replace("'", "\\'")
        lines.append(f"complete -c {command} -n __fish_use_subcommand -f -a {name} -d '{summary}'")
    for name, own in table.items():
        when = f"complete -c {command} -n '__fish_seen_subcommand_from {name}'"
        lines += [*(f"{when} -l {flag} -r" for flag in own), f"{when} -l {trust.FLAG}"]
        if takes_config(own):
            lines.append(f"{when} -a '{' '.join(programs.config_names())}'")
    return "\n".join(lines)
