"""What a shell offers after the console command."""

import subprocess

import pytest
from absl import flags

from mecheval_jax import completion
from mecheval_jax.errors import UserError


def test_flags_of_a_program():
    """Catches absl's own flags among them, and flags that stay defined."""
    before = set(flags.FLAGS)
    assert completion.program_flags("train") == ["config", "mesh", "workdir", "writers"]
    assert set(completion.program_flags("sweep")) > {"config", "grid", "groups"}
    assert "config" not in set(flags.FLAGS) - before


def offered(words):
    """What bash offers for the last of some words."""
    line = " ".join(f"'{word}'" for word in words)
    program = (
        f"{completion.script('bash')}\nCOMP_WORDS=({line}); COMP_CWORD={len(words) - 1}\n"
        '_mecheval; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["mecheval", "tr"], ["train"]),
        (["mecheval", "train", "study/ar_lay"], ["study/ar_layers"]),
        (["mecheval", "train", "recall", "--work"], ["--workdir="]),
        (["mecheval", "report", "--al"], ["--allow_code"]),
        (["mecheval", "completion", "z"], ["zsh"]),
        (["mecheval", "report", "rec"], []),
    ],
)
def test_bash_completes(words, expected, tmp_path, monkeypatch):
    """Catches a script that bash does not understand, and configs offered where folders belong."""
    monkeypatch.chdir(tmp_path)
    assert offered(words) == expected


def test_other_shells():
    """Catches a shell that gets another's script."""
    assert completion.script("zsh").startswith("autoload -U +X bashcompinit")
    fish = completion.script("fish").splitlines()
    assert any("-a train" in line for line in fish)
    assert all(line.startswith("complete -c mecheval ") for line in fish)
    with pytest.raises(UserError, match=r"unknown shell 'cmd'.*bash, zsh, fish"):
        completion.script("cmd")
