"""Whether a mixer mixes as many earlier tokens into each token as it says (`sites.reach_of`).

The verdict takes `local_reach` at its word: sites that it does not name hold no pair of neighbours,
and so a wrong number makes one mechanism look like another. It is held against what a site does
when one token of a document is changed. A local operation ends: so many tokens behind the changed
one its site has changed, whatever the tokens are, and no later one has. What reads a state or
attends goes on to the document's end, fades, or differs from token to token.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from mecheval_jax.array_types import Array, Shaped
from mecheval_jax.sites import ALL

OUTPUTS = "its outputs"
"""Name of a mixer's outputs beside those of its sites."""

SEEN, UNSEEN = 1e-3, 1e-5
"""Least change that counts and greatest that does not, beside a site's greatest change. Between
neighbouring tokens no state fades from one to the other, unless it keeps less than a hundredth."""

ROUNDING = 1e-6
"""Greatest change that may come from a long Fourier transform, beside a site's largest number."""

Activations = Mapping[str, Shaped[Array | np.ndarray, "documents length ..."]]


@dataclasses.dataclass(frozen=True)
class Change:
    """What a site does where one token is changed.

    Attributes:
        token: The changed token.
        sizes: Greatest change of the site at each token, [document, length]; 0 where it is too
            small to be told from rounding.
    """

    token: int
    sizes: np.ndarray

    def reaches(self) -> Iterator[float]:
        """Tokens behind the changed one that change, in each document whose site changes at all.

        It is `ALL` where the change has no end that can be told.
        """
        for sizes in self.sizes[:, self.token :]:
            if not (peak := sizes.max(initial=0)):
                continue
            last = int(np.flatnonzero(sizes >= SEEN * peak)[-1])
            behind = sizes[last + 1 :]
            yield last if behind.size and behind.max() < UNSEEN * peak else ALL


def changed_tokens(length: int) -> list[int]:
    """Tokens that are changed one by one in documents of a length, so that others follow."""
    return sorted({token for token in (1, length // 4, length // 2) if 0 < token < length - 1})


def changes(before: Activations, after: Activations, token: int) -> dict[str, Change]:
    """What sites do where one token is changed.

    Args:
        before: Activations by site.
        after: The same with the token changed.
        token: The changed token.
    """
    found = {}
    for site, own in before.items():
        flat = np.asarray(own, np.float64).reshape(*own.shape[:2], -1)
        other = np.asarray(after[site], np.float64).reshape(flat.shape)
        sizes = np.abs(other - flat).max(axis=-1, initial=0)
        sizes[sizes <= ROUNDING * np.abs(flat).max(initial=0)] = 0
        found[site] = Change(token, sizes)
    return found


def reach_of_changes(found: list[Change]) -> float:
    """Number of earlier tokens that a site mixes in whatever they are, or `ALL`; 0 of a constant.

    Only what is the same wherever a token is changed is local: a look-up depends on the document.
    """
    reaches = _reaches(found)
    return reaches.pop() if len(reaches) == 1 else ALL if reaches else 0


def _reaches(found: list[Change]) -> set[float]:
    return {reach for change in found for reach in change.reaches()}


def _differs(declared: float, found: list[Change]) -> float | None:
    """What a site mixes in if that is not what is declared for it; else None."""
    if declared == ALL:  # of a filter over the whole document only an end that can be told is wrong
        measured = reach_of_changes(found)
        return None if measured == ALL else measured
    # Documents may end before that many tokens have followed.
    found = [change for change in found if change.token + declared < change.sizes.shape[1] - 1]
    reaches = _reaches(found)
    largest = max(reaches, default=0)
    # In blocks of tokens the last of a block mixes in most, which may not be one that is looked at.
    fits = largest == declared or (largest < declared and len(reaches) > 1)
    return None if fits or not found else largest


def wrong_reach(
    declared: Mapping[str, float],
    activations: Callable[[np.ndarray, bool], Activations],
    x: np.ndarray,
) -> str | None:
    """What is wrong with what a mixer declares; None if nothing is.

    Args:
        declared: Reach by site, as `sites.reach_of` gives it.
        activations: Activations at all sites, in the order of computation, and `OUTPUTS`, for
            inputs; if the second argument holds, with the declared sites and the states at their
            values for `x`, so that only what mixes tokens besides them changes at later tokens.
        x: Inputs, [documents, length, width].
    """
    tokens = changed_tokens(x.shape[1])
    free: dict[str, list[Change]] = {}
    besides: dict[str, list[Change]] = {}
    for held, found in ((False, free), (True, besides)):
        before = activations(x, held)
        for token in tokens:
            # Every document gets another's token, which is as likely as its own.
            other = x.copy()
            other[:, token] = np.roll(x[:, token], 1, axis=0)
            for site, change in changes(before, activations(other, held), token).items():
                found.setdefault(site, []).append(change)
    for site, reach in declared.items():
        measured = _differs(reach, free.get(site, []))
        if tokens and measured is not None:
            return (
                f"local_reach() says that {site!r} mixes {_number(reach)} earlier tokens into each "
                f"token, but it mixes {_number(measured)}"
            )
    for site, found in besides.items():
        reach = reach_of_changes(found)
        if 0 < reach < ALL:
            return _undeclared(site, reach)
    return None


def _number(reach: float) -> str:
    return "all (sites.ALL)" if reach == ALL else str(int(reach))


def _undeclared(site: str, reach: float) -> str:
    """What to do about a site, or the outputs, behind a local operation that has no name."""
    if site == OUTPUTS:
        return (
            f"{OUTPUTS} mix {_number(reach)} earlier tokens into each token, and local_reach() "
            "names no site behind what does so: pass its result through a Site, and name that"
        )
    return (
        f"{site!r} mixes {_number(reach)} earlier tokens into each token, and local_reach() names "
        f"neither it nor a site before it: of the sites behind such an operation it has to name "
        f"the first, as {{{site!r}: {_number(reach)}}}"
    )
