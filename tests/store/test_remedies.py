"""Remedies help: what they say to do gives back what there was."""

import pathlib

from mecheval_jax.store.remedies import measured_again


def test_a_member_is_measured_by_its_sweep(tmp_path, monkeypatch):
    """Catches advice for a run of its own, by which a member stays without a summary."""
    assert "the command that trained the run" in measured_again(tmp_path)
    assert f"--workdir={tmp_path} measures a verdict anew" in measured_again(tmp_path)
    member = tmp_path / "groups" / "a" / "members" / "0000"
    member.mkdir(parents=True)
    (member / "member.json").write_text("{")
    assert measured_again(member) == (
        f"remove {tmp_path / 'groups' / 'a' / 'members.csv'}, and the command of the sweep writes "
        "both again"
    )
    monkeypatch.chdir(member.parent)  # catches a path that has no parents in its text
    assert measured_again(pathlib.Path("0000")) == measured_again(member)


def test_another_split_is_measured_by_the_study(tmp_path):
    """Catches advice after which the same file is damaged still."""
    seen = tmp_path / "groups" / "a" / "dev" / "0000"
    seen.mkdir(parents=True)
    (seen / "member.json").write_text("{")
    assert measured_again(seen) == ("remove it, and python -m launch.study measures it again")
