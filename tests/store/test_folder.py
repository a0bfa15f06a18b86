"""Folders of results: whose they are, and what counts as standing in them."""

import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.files import DRAFT
from mecheval_jax.store.folder import PROVENANCE_FILE, Folder
from mecheval_jax.store.lock import PREFIX


def test_what_counts_as_standing_in_a_folder(tmp_path):
    """Catches a folder that is refused for the leavings of a kill, or for files nobody sees."""
    assert Folder(tmp_path / "none").contents() == set()
    for name in (f"a.json{DRAFT}", f"{PREFIX}ladder", ".gitignore", PROVENANCE_FILE):
        (tmp_path / name).touch()
    folder = Folder(tmp_path)
    assert folder.contents() == {PROVENANCE_FILE}
    folder.check_own("costs", ("cost.csv",))
    (tmp_path / "thesis.tex").touch()
    assert folder.contents() == {PROVENANCE_FILE, "thesis.tex"}
    with pytest.raises(UserError, match="is not empty and holds no costs, but thesis"):
        folder.check_own("costs", ("cost.csv",))
    with pytest.raises(UserError, match="but thesis"):
        folder.check_own("choice", ())
    (tmp_path / "cost.csv").touch()
    folder.check_own("costs", ("machine.json", "cost.csv"))
    with pytest.raises(UserError, match="is a file"):
        Folder(tmp_path / "cost.csv").contents()


def test_who_works_on_a_folder_keeps_others_off(tmp_path):
    """Catches two programs that write the same tables, and a link through which others' are."""
    folder = Folder(tmp_path / "new")
    with folder.lock("ladder"), pytest.raises(UserError, match="ladder"), folder.lock("ladder"):
        pass
    (folder.path / "parts").symlink_to(tmp_path)
    with pytest.raises(UserError, match="is a link that leads out"):
        folder.lock("ladder")


def test_what_stands_in_place_of_a_table(tmp_path):
    """Catches a sweep that trains for hours, and then finds a folder where a table should be."""
    for name in ("best.csv", "seed.0"):
        (tmp_path / name).mkdir()
    folder = Folder(tmp_path)
    for begin in (folder.contents, lambda: folder.lock("training")):
        with pytest.raises(UserError, match=r"best\.csv cannot be written: it is a folder"):
            begin()
    (tmp_path / "best.csv").rmdir()
    with folder.lock("training"):
        assert folder.contents() == {"seed.0"}
