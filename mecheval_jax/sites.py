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
"""

import flax.linen as nn
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Shaped

INTERVENTIONS = "interventions"
"""Name of the variable collection that sites read."""


class Site(nn.Module):
    """Identity, unless the ``interventions`` collection holds an entry for this module."""

    @nn.compact
    def __call__(self, live: Shaped[Array, "..."]) -> Shaped[Array, "..."]:
        """The live activation, or what an intervention puts in its place."""
        if not self.has_variable(INTERVENTIONS, "value"):
            return live
        value = self.get_variable(INTERVENTIONS, "value")
        if not self.has_variable(INTERVENTIONS, "mask"):
            return value
        return jnp.where(self.get_variable(INTERVENTIONS, "mask"), value, live)


def is_site(module: nn.Module, method: str) -> bool:
    """The filter for ``capture_intermediates``."""
    return isinstance(module, Site) and method == "__call__"
