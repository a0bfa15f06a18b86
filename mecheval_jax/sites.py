"""A site: a named place in a model where one may look or cut.

`Site` is an identity module. The rest of the model knows nothing of capture or of
intervention, and an unused site leaves no trace in the compiled program.

* Looking: Flax's ``capture_intermediates`` with the filter `is_site` collects the value
  of every site.
* Cutting: ``apply`` reads a collection ``interventions`` with the same nesting; a site
  whose entry holds ``value`` and ``mask`` returns ``where(mask, value, live)``, so
  that several sites at once each act on the live activation. An entry with a ``value``
  alone replaces the activation whole; the compiler then drops all that fed only it,
  which is how the interchange grid runs no more of the model than a patch can change.

A recurrent state is a site of its own kind: what replaces it at one position must reach
all later ones. Where decays and writes describe the recurrence, that is a decay of 0 and a
write of the new state (`Site.reset`), in whatever order a backend computes.
"""

import flax.linen as nn
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Bool, Float, Shaped

INTERVENTIONS = "interventions"
"""Name of the variable collection that sites read."""


STATE = "state"
"""Name of the sites at which a replaced position changes the later ones."""


def is_state(path: str) -> bool:
    """Whether the site at `path` is a recurrent state."""
    return path.rpartition("/")[2] == STATE


class Site(nn.Module):
    """Identity, unless the ``interventions`` collection holds an entry for this module."""

    @nn.compact
    def __call__(self, live: Shaped[Array, "..."]) -> Shaped[Array, "..."]:
        """The live activation, or what an intervention puts in its place."""
        if not self.replaced():
            return live
        mask, value = self.replacement()
        return jnp.where(mask, value, live) if self.has_variable(INTERVENTIONS, "mask") else value

    def replaced(self) -> bool:
        """Whether an intervention acts here."""
        return self.has_variable(INTERVENTIONS, "value")

    def in_use(self) -> bool:
        """Whether an intervention acts here or activations are being captured.

        For values that exist only to be looked at or replaced: a mixer computes them
        where this holds.
        """
        return self.replaced() or self.is_mutable_collection("intermediates")

    def replacement(self) -> tuple[Bool[Array, "..."], Shaped[Array, "..."]]:
        """Mask and value of the intervention; without a mask it acts everywhere."""
        value = self.get_variable(INTERVENTIONS, "value")
        everywhere = jnp.ones((1,) * value.ndim, bool)
        return self.get_variable(INTERVENTIONS, "mask", everywhere), value

    def reset(
        self, decay: Float[Array, "..."], write: Float[Array, "..."]
    ) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
        """Decay and write of a recurrence whose state is this site, its replacement included."""
        if not self.replaced():
            return decay, write
        mask, value = self.replacement()
        return jnp.where(mask, 0, decay), jnp.where(mask, value, write)


def declare(module: nn.Module) -> None:
    """Make the sites that a module lists in its ``SITES``; called in ``setup``."""
    for name in module.SITES:
        setattr(module, name, Site())


def is_site(module: nn.Module, method: str) -> bool:
    """The filter for ``capture_intermediates``."""
    return isinstance(module, Site) and method == "__call__"
