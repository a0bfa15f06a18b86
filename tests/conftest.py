"""Settings of every test: annotations are checked, and no array is broadcast by accident.

The annotations of `mecheval_jax` (``Float[Array, "batch length width"]``) are checked at
every call by beartype, through jaxtyping's import hook, which must be in place before the
package is imported: pytest reads this file before any test module.
"""

import jax
import jaxtyping

jaxtyping.install_import_hook("mecheval_jax", "beartype.beartype")

# x [batch, width] + y [width] is an error; to broadcast, a program must say so.
jax.config.update("jax_numpy_rank_promotion", "raise")
