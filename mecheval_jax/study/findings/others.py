"""Findings 26 to 30: reverse recall, and the claims of the study's third version."""

from collections.abc import Iterator

from mecheval_jax.study.cells import StudyCells
from mecheval_jax.study.claims import Claim, all_of, any_of
from mecheval_jax.study.findings.margins import (
    ACCURACY,
    ATTRIBUTION,
    HALF,
    INDUCTION,
    LITTLE,
    NEARLY_ALL,
    SSMS,
)
from mecheval_jax.study.findings.treecall import EASY, LARGE, MEDIUM
from mecheval_jax.study.judgement import finding
from mecheval_jax.study.published.tables import WIDTHS
from mecheval_jax.study.quantities import Quantity
from mecheval_jax.study.results import CONVOLVED, READ

REVERSE = "AR reverse"


@finding(26, "Reverse recall (three layers): attention holds the pair at the later token; Mamba "
         "reaches 97 % at width 256, where attention and Based collapse",
         "mamba", "collapse", "later token")  # fmt: skip
def reverse_recall(cells: StudyCells) -> Iterator[Claim]:
    """Accuracy by width, and restored shares at both tokens of the asked pair."""
    mamba = cells.accuracy("mamba", 256, REVERSE, layers=3)
    yield mamba.above(0.97 - ACCURACY, "mamba")
    for mixer in INDUCTION:
        narrow, wide = (cells.accuracy(mixer, width, REVERSE, layers=3) for width in (64, 256))
        yield narrow.above(0.9, "learned at 64")
        yield (wide - narrow).below(-HALF, "collapse")
    # Roles follow the function: `key` is the asked value, the later token; `value` is the answer.
    runs = cells.learned("attention", REVERSE, layers=3)
    later, earlier = (
        cells.attribution(runs, role, name="the mean over attention on AR reverse")
        for role in ("key", "value")
    )
    yield later.above(HALF, "later token")
    yield earlier.near(0.0, ATTRIBUTION, "later token")


@finding(27, "DeltaNet comes close to attention and Based on AR, and retrieves directly in layer "
         "0, for which one layer is enough", "accuracy", "mechanism", "one layer")  # fmt: skip
def delta_net_retrieves(cells: StudyCells) -> Iterator[Claim]:
    """DeltaNet less the others, and restored shares of DeltaNet's runs."""
    for width in WIDTHS[1:]:
        for other in INDUCTION:
            behind = cells.accuracy("delta_net", width) - cells.accuracy(other, width)
            yield behind.above(-LITTLE, "accuracy")
        one = cells.accuracy("delta_net", width, layers=1)
        yield (one - cells.accuracy("delta_net", width)).above(-LITTLE, "one layer")
    runs = cells.learned("delta_net")
    at_query, at_value = (
        cells.attribution(runs, role, name="the mean over delta_net") for role in ("query", "value")
    )
    yield at_query.above(HALF, "mechanism")
    yield at_value.below(ATTRIBUTION, "mechanism")


@finding(28, "Inside Mamba the short convolution of layer 0 binds the pair, at the token after the "
         "value (four taps) or at the value (two): that one vector restores 99 %, and nothing does "
         "at the key", "four taps", "two taps", "elsewhere", "input")  # fmt: skip
def convolution_binds(cells: StudyCells) -> Iterator[Claim]:
    """Mean restored shares of the convolution's output and input."""
    for option, taps, role, part in (
        ("", 4, "next_key", "four taps"),
        ("d_conv=2", 2, "value", "two taps"),
    ):
        runs = cells.learned("mamba", option=option)
        name = f"the mean over Mamba with {taps} taps"
        bound = cells.attribution(runs, role, CONVOLVED, name)
        yield bound.above(NEARLY_ALL, part)
        at_key = cells.attribution(runs, "key", CONVOLVED, name)
        yield at_key.near(0.0, ATTRIBUTION, "elsewhere")
        for other in ("value", "next_key", "query"):
            nothing = cells.attribution(runs, other, READ, name)
            yield nothing.near(0.0, ATTRIBUTION, "input")


@finding(29, "On treecall Mamba without its convolution still learns, by induction; on AR it fails",
         "learns", "induction", "fails on AR")  # fmt: skip
def without_convolution(cells: StudyCells) -> Iterator[Claim]:
    """Accuracy and restored shares of Mamba with no convolution."""
    learned = [cells.accuracy("mamba", width, EASY, option="d_conv=0") for width in WIDTHS]
    floor = cells.copying(EASY)
    yield any_of("some width learns", "learns", [each.above(floor) for each in learned])
    for width in WIDTHS:
        failed = cells.accuracy("mamba", width, option="d_conv=0")
        yield failed.below(0.056 + ACCURACY, "fails on AR")
    runs = cells.learned("mamba", EASY, option="d_conv=0")
    at_value, at_query = (
        cells.attribution(runs, role, name="the mean over Mamba without convolution")
        for role in ("value", "query")
    )
    yield at_value.above(HALF, "induction")
    yield at_query.below(HALF, "induction")


@finding(30, "Architectures of the same accuracy have different mechanisms", "pair")
def same_accuracy_different_mechanism(cells: StudyCells) -> Iterator[Claim]:
    """Two architectures of equal accuracy, only one of which holds pairs at the value.

    Both have the same width, and the shares are of runs of that width.
    """
    pairs = []
    for task in ("AR", EASY, MEDIUM, LARGE):
        enough = cells.floor(task) + LITTLE  # architectures that guess are equal, too
        for inductive in INDUCTION:
            for direct in (*SSMS, "delta_net"):
                for width in WIDTHS:
                    pair = inductive, direct
                    ours, theirs = (cells.accuracy(mixer, width, task) for mixer in pair)
                    values = [_at_value(cells, mixer, width, task) for mixer in pair]
                    claims = (
                        (ours - theirs).near(0.0, LITTLE),
                        ours.above(enough),
                        theirs.above(enough),
                        (values[0] - values[1]).above(HALF),
                    )
                    text = f"{inductive} and {direct} at width {width} on {task}"
                    pairs.append(all_of(text, claims))
    yield any_of(
        "two architectures answer as many and hold the pair at other tokens", "pair", pairs
    )


def _at_value(cells: StudyCells, mixer: str, width: int, task: str) -> Quantity:
    runs = cells.learned(mixer, task, width=width)
    name = f"the mean over {mixer} of width {width} on {task}"
    return cells.attribution(runs, "value", name=name)


FINDINGS = (
    reverse_recall,
    delta_net_retrieves,
    convolution_binds,
    without_convolution,
    same_accuracy_different_mechanism,
)
