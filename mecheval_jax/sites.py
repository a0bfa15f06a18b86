"""A site: a named place in a model where one may look or cut.

`Site` is an identity module. The rest of the model knows nothing of capture or of
intervention, and an unused site leaves no trace in the compiled program.

* Looking: Flax's ``capture_intermediates`` with the filter `is_site` collects the value
  of every site.
* Cutting: ``apply`` reads a collection ``interventions`` with the same nesting. A site with
  an entry there returns a function of its live activation x:

      x <- value                        with ``value`` alone
      x <- x + P (value - x)            with a ``projection`` P of the last axis
      (either only where ``mask`` holds, if there is one)
      x <- x + shift                    with a ``shift``
      x <- the entry ``then`` of x      with one

  so that several sites at once each act on the live activation. A value without mask and
  projection replaces the activation whole; the compiler then drops all that fed only it,
  which is how the interchange grid runs no more of the model than a patch can change.

A recurrent state is a site of its own kind: what is done to it at one position must reach
all later ones. Where decays and writes describe the recurrence, a replaced state is a decay
of 0 and a write of the new state, and a shift is added to the write (`into_recurrence`), in
whatever order a backend computes; a projection mixes channels, and goes token by token.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import flax.linen as nn
import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Bool, Float, Int, PyTree, Shaped
from mecheval_jax.site_path import SitePath

INTERVENTIONS = "interventions"
"""Name of the variable collection that sites read."""

STATE = "state"
"""Name of the sites at which a replaced position changes the later ones."""

LEAVES = ("value", "mask", "projection", "shift", "then")
"""What an entry may hold."""

Entry = Mapping[str, PyTree]
"""An intervention on one site."""

NO_ENTRY: Entry = MappingProxyType({})
"""That of a site that is left alone."""


def is_state(path: str) -> bool:
    """Whether the site at `path` is a recurrent state."""
    return SitePath.parse(path).name == STATE


def steps(entry: Entry) -> Iterator[Entry]:
    """An entry, its ``then``, and so on."""
    while entry:
        yield entry
        entry = entry.get("then", {})


def mask_of(step: Entry) -> Bool[Array, "..."]:
    """Where the value of a step acts; without a mask, everywhere."""
    return step["mask"] if "mask" in step else jnp.ones((1,) * step["value"].ndim, bool)


def rewrite(live: Shaped[Array, "..."], entry: Entry) -> Shaped[Array, "..."]:
    """What a site with this entry returns in place of `live`."""
    for step in steps(entry):
        if "value" in step:
            value = step["value"]
            if "projection" in step:
                change = jnp.einsum("...d,ed->...e", value - live, step["projection"])
                value = live + change
            live = jnp.where(step["mask"], value, live) if "mask" in step else value
        if "shift" in step:
            live = live + step["shift"]
    return live


def tokens_of(entry: Entry, length: int) -> Int[Array, " length"] | None:
    """What a loop over tokens hands to `rewrite_at`: their numbers, or nothing without entry."""
    return jnp.arange(length) if entry else None


def rewrite_at(
    state: Shaped[Array, "batch ..."], entry: Entry, token: Int[Array, ""] | None
) -> Shaped[Array, "batch ..."]:
    """`rewrite` of the state after one token, by the entry on the states of all."""

    def at_token(name, leaf):
        if name == "projection":
            return leaf
        return jax.lax.dynamic_index_in_dim(leaf, token, axis=1, keepdims=False)

    for step in steps(entry):
        own = {name: leaf for name, leaf in step.items() if name != "then"}
        state = rewrite(state, {name: at_token(name, leaf) for name, leaf in own.items()})
    return state


def is_elementwise(entry: Entry) -> bool:
    """Whether an entry treats every number of an activation by itself."""
    return not any("projection" in step for step in steps(entry))


def into_recurrence(
    entry: Entry, decay: Float[Array, "..."], write: Float[Array, "..."]
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Decay and write of a recurrence, with an entry (`is_elementwise`) on its state in them."""
    for step in steps(entry):
        if "value" in step:
            mask = mask_of(step)
            decay, write = jnp.where(mask, 0, decay), jnp.where(mask, step["value"], write)
        if "shift" in step:
            write = write + step["shift"]
    return decay, write


class Site(nn.Module):
    """Identity, unless the ``interventions`` collection holds an entry for this module."""

    @nn.compact
    def __call__(
        self, live: Shaped[Array, "..."], *, rewritten: bool = False
    ) -> Shaped[Array, "..."]:
        """The live activation, or what an intervention puts in its place.

        Args:
            live: the activation.
            rewritten: whether the intervention is in it already (a recurrent state that
                went on from there).
        """
        return live if rewritten else rewrite(live, self.entry())

    def entry(self) -> Entry:
        """The intervention on this site; empty if there is none."""
        return {
            name: self.get_variable(INTERVENTIONS, name)
            for name in LEAVES
            if self.has_variable(INTERVENTIONS, name)
        }

    def replaced(self) -> bool:
        """Whether an intervention acts here."""
        return bool(self.entry())

    def in_use(self) -> bool:
        """Whether an intervention acts here or activations are being captured.

        For values that exist only to be looked at or replaced: a mixer computes them
        where this holds.
        """
        return self.replaced() or self.is_mutable_collection("intermediates")


def declare(module: nn.Module) -> None:
    """Make the sites that a module lists in its ``SITES``; called in ``setup``."""
    for name in module.SITES:
        setattr(module, name, Site())


def is_site(module: nn.Module, method: str) -> bool:
    """The filter for ``capture_intermediates``."""
    return isinstance(module, Site) and method == "__call__"
