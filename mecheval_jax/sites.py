"""Sites: named places in a model whose activations can be read and rewritten.

`Site` is an identity module. The rest of the model contains no code for captures or
interventions, and an unused site leaves no trace in the compiled program.

* Reading: Flax's ``capture_intermediates`` with the filter `is_site` collects the value
  of every site.
* Rewriting: ``apply`` reads a collection ``interventions`` with the same nesting. A site with
  an entry there returns a function of its live activation x:

      x <- value                        with ``value`` alone
      x <- x + P (value - x)            with a ``projection`` P of the last axis
      (either only where ``mask`` holds, if there is one)
      x <- x + shift                    with a ``shift``
      x <- the entry ``then`` of x      with one

  Each of several sites acts on its live activation, which contains the effects of the earlier
  ones. A value without mask and projection replaces the whole activation; the compiler then
  drops what fed only that, and so a patched run of the interchange grid computes no more of the
  model than the patch can change.

A recurrent state is a special site, because a change at one position must reach all later
states. If the recurrence is given by decays and writes, a replaced state is a decay of 0 and a
write of the new state, and a shift is added to the write (`into_recurrence`); this works in any
order of computation. A projection mixes channels and is applied token by token.
"""

import math
import numbers
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict

from mecheval_jax.array_types import Array, Bool, Float, Int, PyTree, Shaped
from mecheval_jax.errors import UserError
from mecheval_jax.site_path import SitePath

INTERVENTIONS = "interventions"
"""Name of the variable collection that sites read."""

STATE = "state"
"""Name of sites that hold a recurrent state, where a change at one position reaches later ones."""

ONLY_WITH = "(only with "
"""What the meaning of a site in a mixer's ``SITES`` has if some options leave the site out."""

ALL = math.inf
"""Reach of an operation that mixes all earlier tokens, such as a filter of a document's length."""

LEAVES = ("value", "mask", "projection", "shift", "then")
"""Keys that an entry may have."""

Entry = Mapping[str, PyTree]
"""Intervention on one site: some of `LEAVES`, where ``then`` is another entry."""

NO_ENTRY: Entry = MappingProxyType({})
"""Entry of a site on which there is no intervention."""


def is_state(path: str) -> bool:
    """Whether the site at `path` is a recurrent state."""
    return SitePath.parse(path).name == STATE


def steps(entry: Entry) -> Iterator[Entry]:
    """An entry, its ``then``, the ``then`` of that, and so on."""
    while entry:
        yield entry
        entry = entry.get("then", {})


def check_names(path: str, entry: Any) -> None:
    """Check that an entry has the leaves of one: Flax passes over others.

    Raises:
        UserError: If it has none that acts, or another; or is none at all.
    """
    if not isinstance(entry, Mapping):
        raise UserError(f"{path}: an intervention is an entry by path, not an array alone")
    if set(entry) - set(LEAVES) or not {"value", "shift"} & set(entry):
        raise UserError(
            f"{path}: an intervention has a value or a shift, and may have a mask and a "
            f"projection for its value, not {', '.join(map(str, entry)) or 'nothing'}"
        )
    for name in entry.keys() & {"mask", "projection"}:
        if "value" not in entry:
            raise UserError(f"{path}: a {name} without a value does nothing")
    if "then" in entry:
        check_names(path, entry["then"])


def check_entry(path: str, entry: Entry, live: Array | jax.ShapeDtypeStruct) -> None:
    """Check shapes and types of an entry, many of which broadcasting would take as they are.

    Args:
        path: Path of the site.
        entry: Entry that acts there.
        live: Activation on which it acts.

    Raises:
        UserError: If something does not fit the activation.
    """
    for step in steps(entry):
        leaves = {name: jnp.asarray(leaf) for name, leaf in step.items() if name != "then"}
        for name in leaves.keys() & {"value", "shift"}:
            leaf = leaves[name]
            if (leaf.shape, leaf.dtype) != (live.shape, live.dtype):
                raise UserError(
                    f"{path}: the {name} is {leaf.dtype}{list(leaf.shape)}, "
                    f"the activation {live.dtype}{list(live.shape)}"
                )
        _check_leaves(path, leaves, live.shape)


def _check_leaves(path: str, leaves: Mapping[str, Array], shape: tuple[int, ...]) -> None:
    """Check mask and projection of a step."""
    mask, projection = leaves.get("mask"), leaves.get("projection")
    if mask is not None:
        ones = zip(mask.shape[2:], shape[2:], strict=False)
        fits = mask.ndim == len(shape) and mask.shape[:2] == shape[:2]
        if mask.dtype != bool or not fits or any(one not in (1, size) for one, size in ones):
            raise UserError(
                f"{path}: the mask is {mask.dtype}{list(mask.shape)}, it must be bool and fit "
                f"{list(shape)} with the same documents and positions"
            )
    if projection is not None and projection.shape != (shape[-1],) * 2:
        raise UserError(
            f"{path}: the projection is {list(projection.shape)}, the activation has {shape[-1]} "
            "channels"
        )


def mask_of(step: Entry) -> Bool[Array, "..."]:
    """Mask of the value of a step; True everywhere if the step has none."""
    return step["mask"] if "mask" in step else jnp.ones((1,) * step["value"].ndim, bool)


def rewrite(live: Shaped[Array, "..."], entry: Entry) -> Shaped[Array, "..."]:
    """Value that a site with this entry returns in place of `live`."""
    for step in steps(entry):
        if "value" in step:
            value = step["value"]
            if "projection" in step:
                change = jnp.einsum("...d,ed->...e", value - live, step["projection"])
                value = live + change.astype(live.dtype)
            live = jnp.where(step["mask"], value, live) if "mask" in step else value
        if "shift" in step:
            live = live + step["shift"]
    return live


def tokens_of(entry: Entry, length: int) -> Int[Array, " length"] | None:
    """Indices of tokens, which a loop passes to `rewrite_at`; None without an entry."""
    return jnp.arange(length) if entry else None


def rewrite_at(
    state: Shaped[Array, "batch ..."], entry: Entry, token: Int[Array, ""] | None
) -> Shaped[Array, "batch ..."]:
    """Rewrite the state after one token, by an entry on the states after all tokens."""

    def at_token(name: str, leaf: Shaped[Array, "..."]) -> Shaped[Array, "..."]:
        if name == "projection":
            return leaf
        return jax.lax.dynamic_index_in_dim(leaf, token, axis=1, keepdims=False)

    for step in steps(entry):
        own = {name: leaf for name, leaf in step.items() if name != "then"}
        state = rewrite(state, {name: at_token(name, leaf) for name, leaf in own.items()})
    return state


def is_elementwise(entry: Entry) -> bool:
    """Whether an entry acts on every number of an activation separately."""
    return not any("projection" in step for step in steps(entry))


def into_recurrence(
    entry: Entry, decay: Float[Array, "..."], write: Float[Array, "..."]
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Decay and write of a recurrence that include an elementwise entry on its state."""
    for step in steps(entry):
        if "value" in step:
            mask = mask_of(step)
            decay, write = jnp.where(mask, 0, decay), jnp.where(mask, step["value"], write)
        if "shift" in step:
            write = write + step["shift"]
    return decay, write


class Site(nn.Module):
    """Identity module, unless the ``interventions`` collection has an entry for it."""

    @nn.compact
    def __call__(
        self, live: Shaped[Array, "..."], *, rewritten: bool = False
    ) -> Shaped[Array, "..."]:
        """The live activation, or the result of an intervention on it.

        Args:
            live: Live activation.
            rewritten: Whether the mixer has already applied the intervention, as recurrences do
                to their states.
        """
        entry = self.checked_entry(live)
        return live if rewritten else rewrite(live, entry)

    def entry(self) -> Entry:
        """Entry of this site; empty if there is none."""
        return {
            name: self.get_variable(INTERVENTIONS, name)
            for name in LEAVES
            if self.has_variable(INTERVENTIONS, name)
        }

    def checked_entry(self, live: Array | jax.ShapeDtypeStruct) -> Entry:
        """The entry of this site; it must fit the shape and type of the activation."""
        entry = self.entry()
        if entry:
            check_entry("/".join(self.path), entry, live)
        return entry

    def replaced(self) -> bool:
        """Whether an intervention acts here."""
        return bool(self.entry())

    def is_captured(self) -> bool:
        """Whether activations are being captured."""
        return self.is_mutable_collection("intermediates")

    def in_use(self) -> bool:
        """Whether an intervention acts here or activations are being captured.

        A mixer computes values that the model itself does not need only if this holds.
        """
        return self.replaced() or self.is_captured()


def declare(module: nn.Module) -> None:
    """Make the sites that a module lists in its ``SITES``; to be called in ``setup``."""
    for name in module.SITES:
        setattr(module, name, Site())


def reach_of(mixer: nn.Module) -> dict[str, float] | None:
    """Number of earlier tokens that a mixer mixes into each token, apart from its look-up.

    A mixer gives it by ``local_reach()``: for the name of a site, the number of earlier tokens that
    this site mixes into each token, whatever the tokens are. This is the number of taps of a
    convolution less one, 1 after a shift or a trapezoid, the length of a window, and `ALL` after a
    filter of a document's length. Of several sites after such an operation the first one is named.
    A mixer that only attends or keeps a state has none and returns ``{}``.

    Returns:
        Reach by site, without those of reach 0; None if the mixer does not declare it.

    Raises:
        UserError: If a mixer of one's own gives something else.
    """
    if not hasattr(mixer, "local_reach"):
        return None
    declared = mixer.local_reach()
    if not isinstance(declared, Mapping) or not all(map(_is_reach, declared.values())):
        raise UserError(
            f"local_reach() of {type(mixer).__name__} gives {declared!r}: it takes the name of a "
            "site to a whole number of earlier tokens, or to sites.ALL"
        )
    return {site: reach for site, reach in declared.items() if reach > 0}


def _is_reach(value: Any) -> bool:
    """Whether a value is a number of earlier tokens."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return False
    number = float(value)
    return number == ALL or (number >= 0 and number.is_integer())


def heads_of(mixer: nn.Module) -> int:
    """Number of heads whose contributions add up to a mixer's output.

    They do where a mixer says ``HEADS_ADD = True``: its ``head_output`` has the heads as axis 2,
    nothing after it mixes them but the sum, and what is added besides is a bias, the same at every
    token. Any other mixer counts as one head: a skip past the heads belongs to none of them.
    """
    return mixer.heads if getattr(mixer, "HEADS_ADD", False) else 1


def is_site(module: nn.Module, method: str) -> bool:
    """Whether a call is that of a site, as the filter of ``capture_intermediates``."""
    return isinstance(module, Site) and method == "__call__"


def apply_captured(
    module: nn.Module, variables: PyTree, *arguments: Array | None, **options: Any
) -> tuple[Any, dict[str, Array]]:
    """What a module returns, and the activations at its sites by path.

    Args:
        module: Model, mixer or other module with sites.
        variables: Its parameters and interventions.
        *arguments: Arguments of the method that is called.
        **options: Its further arguments, and ``method`` if it is not ``__call__``.
    """
    result, seen = module.apply(
        variables,
        *arguments,
        capture_intermediates=is_site,
        mutable=["intermediates"],
        **options,
    )
    # Flax keeps a tuple with one value per call of a module.
    flat = flatten_dict(seen.get("intermediates", {}), sep="/")
    calls = {path.removesuffix("/__call__"): values for path, values in flat.items()}
    for path, values in calls.items():
        if len(values) != 1:
            raise UserError(f"the site {path} is called {len(values)} times: give each its own")
    return result, {path: values[0] for path, values in calls.items()}


def hands_on(mixer: type[nn.Module]) -> bool:
    """Whether mixers of a class hand values of the first layer on to the later ones, as in RWKV-7.

    They do where it says ``HANDS_ON = True``: its ``mix`` and ``step_from`` take and give them.
    """
    return getattr(mixer, "HANDS_ON", False)
