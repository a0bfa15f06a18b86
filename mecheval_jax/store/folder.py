"""What the folders of runs, of groups and of sweeps have in common."""

import os
import pathlib
from typing import Any

from mecheval_jax.errors import UserError
from mecheval_jax.files import is_draft
from mecheval_jax.store.metrics import forget_after, read_rows


class Folder:
    """Folder by its path.

    Args:
        path: Path of the folder.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = pathlib.Path(path)

    @property
    def name(self) -> str:
        """The folder's own name, by which tables know what it holds."""
        return self.path.absolute().name

    def contents(self) -> set[str]:
        """Names of what stands in the folder, but for files that were not written to their end.

        Raises:
            UserError: If a file has the folder's path.
        """
        if not self.path.exists():
            return set()
        if not self.path.is_dir():
            raise UserError(f"workdir {self.path} is a file")
        return {path.name for path in self.path.iterdir() if not is_draft(path)}

    def make(self) -> None:
        """Make the folder, unless it is there.

        Raises:
            UserError: If it cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"workdir {self.path} cannot be made: {error.strerror}") from None


class TrainingFolder(Folder):
    """Folder of what is trained at once, with its metrics over steps."""

    def __init__(self, path: str | os.PathLike):
        super().__init__(path)
        self.metrics = self.path / "metrics.jsonl"

    def read_metrics(self) -> list[dict[str, Any]]:
        """Rows of ``metrics.jsonl``; a last line that was cut off is passed over."""
        return read_rows(self.metrics)

    def forget_after(self, step: int) -> None:
        """Drop metrics of steps that will be taken again."""
        forget_after(self.metrics, step)
