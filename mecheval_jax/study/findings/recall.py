"""Findings 1 to 14: associative recall, 16 pairs of 4,096 keys and values."""

import dataclasses
from collections.abc import Iterable, Iterator

import pandas as pd

from mecheval_jax.site_path import SitePath
from mecheval_jax.study.cells import StudyCells
from mecheval_jax.study.claims import Claim, all_of, any_of
from mecheval_jax.study.findings.margins import (
    ACCURACY,
    ATTRIBUTION,
    HALF,
    LITTLE,
    MIXERS,
    MOST,
)
from mecheval_jax.study.judgement import finding
from mecheval_jax.study.measured import at_shared_widths
from mecheval_jax.study.published.tables import WIDTHS, published_gain_by_positions
from mecheval_jax.study.quantities import Quantity
from mecheval_jax.study.results import INPUT, column_of

OPTION_OF_TAPS = {2: "d_conv=2", 3: "d_conv=3", 4: ""}
"""Taps of Mamba's short convolution -> its option; the study's own has four."""

GUESS = 1 / 16
"""Accuracy of a guess among the values of a document."""


@finding(1, "Two layers of attention with positions recall perfectly (99.5 % or more) at every "
         "width from 32 on, and fail at 16", "width 32 and more")  # fmt: skip
def attention_recalls(cells: StudyCells) -> Iterator[Claim]:
    """Accuracy by width."""
    for width in WIDTHS[1:]:
        yield cells.accuracy("attention", width).above(0.995 - ACCURACY, "width 32 and more")
    yield cells.accuracy("attention", 16).below(0.066 + ACCURACY, "width 16")


@finding(2, "Based reaches 93 % from width 32 on and 99 % from 64 on; 24 % at width 16",
         "width 32 and more")  # fmt: skip
def based_recalls(cells: StudyCells) -> Iterator[Claim]:
    """Accuracy by width."""
    for width in WIDTHS[1:]:
        bound = 0.93 if width == 32 else 0.99
        yield cells.accuracy("based", width).above(bound - ACCURACY, "width 32 and more")
    yield cells.accuracy("based", 16).matches(cells.published("based", 16), "width 16")


@finding(3, "Mamba reaches 10, 77, 81, 90 and 91 % over the widths: more than all other state "
         "space models but Based, and never 99 %", "numbers", "order of architectures")  # fmt: skip
def mamba_is_the_best_ssm(cells: StudyCells) -> Iterator[Claim]:
    """The published numbers, the order at every width, and the limit."""
    for width in WIDTHS:
        mamba = cells.accuracy("mamba", width)
        yield mamba.matches(cells.published("mamba", width), "numbers")
        yield mamba.below(0.99, "limit")
        for other in ("base_conv", "h3", "hyena"):
            yield (mamba - cells.accuracy(other, width)).above(0.0, "order of architectures")


@finding(4, "Hyena only starts at width 128 (14 %, then 30 %); BaseConv stays at 10 % or less, "
         "H3 at 3 % or less", "Hyena below 128", "Hyena from 128 on", "BaseConv", "H3")  # fmt: skip
def others_fail(cells: StudyCells) -> Iterator[Claim]:
    """Accuracy by width."""
    for width in WIDTHS:
        hyena = cells.accuracy("hyena", width)
        if width < 128:
            yield hyena.below(GUESS + ACCURACY, "Hyena below 128")
        else:
            yield hyena.matches(cells.published("hyena", width), "Hyena from 128 on")
        yield cells.accuracy("base_conv", width).below(0.10 + ACCURACY, "BaseConv")
        yield cells.accuracy("h3", width).below(0.03 + ACCURACY, "H3")


@finding(5, "Every run of attention and Based that learns holds the pair at the value token "
         "before layer 1, and nothing at the query or the key", "attention", "based")  # fmt: skip
def inductive_runs(cells: StudyCells) -> Iterator[Claim]:
    """Restored shares of every run at the input of layer 1."""
    for mixer in ("attention", "based"):
        runs = cells.learned(mixer)
        yield from _without_runs(mixer, WIDTHS[1:], runs, mixer)
        for at_value in cells.each(runs, "value"):
            yield at_value.near(1.0, ATTRIBUTION, mixer)
        for role in ("query", "key"):
            for elsewhere in cells.each(runs, role):
                yield elsewhere.near(0.0, ATTRIBUTION, mixer)


@finding(6, "Every run of Mamba and Hyena that learns holds nothing at the value token before "
         "layer 1; the best have all of it at the query, weaker ones trade it for the key, and "
         "both together are 1 at most",
         "mamba at the value", "hyena at the value", "the best mamba")  # fmt: skip
def direct_runs(cells: StudyCells) -> Iterator[Claim]:
    """Restored shares of every run at the input of layer 1, and of the best run."""
    for mixer in ("mamba", "hyena"):
        runs = cells.learned(mixer)
        widths = WIDTHS if mixer == "mamba" else WIDTHS[-2:]
        yield from _without_runs(mixer, widths, runs, f"{mixer} at the value")
        if runs.empty:
            continue
        for at_value in cells.each(runs, "value"):
            yield at_value.near(0.0, ATTRIBUTION, f"{mixer} at the value")
        best = runs.loc[[runs["dev_accuracy"].fillna(runs["accuracy"]).idxmax()]]
        for at_query in cells.each(best, "query"):
            yield at_query.near(1.0, ATTRIBUTION, f"the best {mixer}")
        for together in cells.each(runs, "query+key"):
            yield together.below(1 + ATTRIBUTION, f"{mixer} together")
            # A share that is missing at one place is at the other, or they would not be traded.
            yield together.above(HALF, f"{mixer} together")
        weaker = runs[runs[column_of(INPUT, "query")] < 1 - ATTRIBUTION]
        name = f"the mean over weaker runs of {mixer}"
        if not weaker.empty:
            at_key = cells.attribution(weaker, "key", name=name)
            yield at_key.above(ATTRIBUTION, f"{mixer} trades")


def _without_runs(
    mixer: str, widths: Iterable[int], runs: pd.DataFrame, part: str
) -> Iterator[Claim]:
    """Claims that nothing is known of, for widths that learn in the study and have no run here."""
    for width in widths:
        if width not in set(runs["width"]):
            yield Claim(f"runs of {mixer} of width {width} that learn", part)


@finding(7, "A run of BaseConv at width 256 has partial induction (57 % at the value token)",
         "learns", "width 256")  # fmt: skip
def base_conv_has_some_induction(cells: StudyCells) -> Iterator[Claim]:
    """Accuracy above a guess, and the restored share at the value of one run at least."""
    yield cells.accuracy("base_conv", 256).above(GUESS, "learns")
    runs = cells.learned("base_conv")
    at_value = cells.each(runs[runs["width"] == 256], "value")
    partial = [
        all_of(f"{each.name} is partial", (each.above(ATTRIBUTION), each.below(1 - ATTRIBUTION)))
        for each in at_value
    ]
    yield any_of("some run has it", "width 256", partial)


@finding(8, "One layer is enough for direct retrieval (Mamba 96 and 91 % with one and two "
         "layers, Hyena 32 and 30 %, at width 256); one layer of attention, Based or BaseConv only "
         "guesses", "mamba", "hyena", "induction")  # fmt: skip
def one_layer_is_enough(cells: StudyCells) -> Iterator[Claim]:
    """One layer against two, and one layer against a guess."""
    for mixer, widths in (("mamba", WIDTHS[2:]), ("hyena", WIDTHS[-1:])):
        for width in widths:
            one, two = (cells.accuracy(mixer, width, layers=layers) for layers in (1, 2))
            yield (one - two).above(-LITTLE, mixer)
            yield one.above(GUESS + LITTLE, mixer)  # models that guess are equal, too
    for mixer in ("attention", "based", "base_conv"):
        for width in WIDTHS:
            guess = cells.accuracy(mixer, width, layers=1)
            yield guess.below(0.091 + ACCURACY, "induction")


THIRD_LAYER = {
    # bounds of the difference, where a third layer changes much: half of what the study names
    ("mamba", 32): (None, -(0.77 - 0.13) / 2),
    ("hyena", 256): (None, -(0.30 - 0.20) / 2),
    ("based", 16): (0.0, None),
    ("attention", 16): (0.0, None),
}


@finding(9, "A third layer changes little, but for Mamba at width 32 (77 to 13 %) and Hyena at 256 "
         "(30 to 20 %); Based and attention at 16 gain",
         "small changes", "large changes")  # fmt: skip
def third_layer_changes_little(cells: StudyCells) -> Iterator[Claim]:
    """Three layers less two."""
    for mixer in MIXERS:
        for width in WIDTHS:
            three, two = (cells.accuracy(mixer, width, layers=layers) for layers in (3, 2))
            change = three - two
            low, high = THIRD_LAYER.get((mixer, width), (-LITTLE, LITTLE))
            if low == -LITTLE and high == LITTLE:
                yield change.near(0.0, LITTLE, "small changes")
            elif low is not None:
                yield change.above(low, "large changes")
            else:
                yield change.below(high, "large changes")


@finding(10, "Layer 1 writes the answer in attention, Based and BaseConv, layer 0 in Hyena and "
         "mostly in Mamba, of which never the middle one of three does",
         "induction", "mamba", "three layers", "mamba, three layers")  # fmt: skip
def who_writes_the_answer(cells: StudyCells) -> Iterator[Claim]:
    """Restored shares at the query, by the layer's output: of every run, or of most of Mamba."""
    for mixer, writer, part in (
        ("attention", 1, "induction"),
        ("based", 1, "induction"),
        ("base_conv", 1, "BaseConv"),
        ("hyena", 0, "hyena"),
        ("mamba", 0, "mamba"),
    ):
        runs = cells.learned(mixer)
        for layer in (0, 1):
            site = SitePath(layer, "mixer_output").path
            if mixer == "mamba":
                shares = [cells.attribution(runs, "query", site, f"the mean over {mixer}")]
            else:
                shares = cells.each(runs, "query", site)
            for written in shares:
                yield written.above(HALF, part) if layer == writer else written.below(HALF, part)
        if runs.empty:
            yield Claim(f"runs of {mixer} that learn", part)
    middle = SitePath(1, "mixer_output").path
    for mixer in ("attention", "based"):
        three = cells.learned(mixer, layers=3)
        name = f"the mean over {mixer}, 3 layers"
        written = cells.attribution(three, "query", middle, name)
        yield written.above(HALF, "three layers")
    three = cells.learned("mamba", layers=3)
    for written in cells.each(three, "query", middle):
        yield written.below(HALF, "mamba, three layers")
    if three.empty:
        yield Claim("runs of mamba of three layers that learn", "mamba, three layers")


@finding(11, "Mamba without convolution or with one tap fails (5.6 % or less); two taps reach 91 "
         "to 94 % at widths 64 and 256 (but 39 % at 128, 19 % at 32); three are as good as four "
         "from 64 on", "no neighbour", "two taps")  # fmt: skip
def mamba_needs_two_taps(cells: StudyCells) -> Iterator[Claim]:
    """Accuracy by the number of taps."""
    for width in WIDTHS:
        for taps in (0, 1):
            fails = cells.accuracy("mamba", width, option=f"d_conv={taps}")
            yield fails.below(0.056 + ACCURACY, "no neighbour")
        if width > 16:
            two = cells.accuracy("mamba", width, option="d_conv=2")
            if width in (64, 256):
                yield two.above(0.91 - ACCURACY, "two taps")
            else:
                published = cells.published("mamba", width, option="d_conv=2")
                yield two.matches(published, "two taps elsewhere")
        if width >= 64:
            three = cells.accuracy("mamba", width, option="d_conv=3")
            yield (three - cells.accuracy("mamba", width)).above(-ACCURACY, "three taps")


@finding(12, "The more taps, the earlier Mamba retrieves: the median share at the query is .04, "
         ".75 and 1.00 with 2, 3 and 4 taps", "each tap", "how early")  # fmt: skip
def more_taps_retrieve_earlier(cells: StudyCells) -> Iterator[Claim]:
    """Mean restored shares at the query of runs with 2, 3 and 4 taps.

    The study compares medians over all widths and says nothing of any one. Numbers of taps are
    compared here at the widths that both were run at, since width moves the share as well.
    """
    runs = {taps: cells.learned("mamba", option=option) for taps, option in OPTION_OF_TAPS.items()}

    def share(taps: int, of: pd.DataFrame) -> Quantity:
        return cells.attribution(of, "query", name=f"the mean over {taps} taps")

    for fewer, more in ((2, 3), (3, 4)):
        less, further = at_shared_widths(runs[fewer], runs[more])
        yield (share(more, further) - share(fewer, less)).above(0.0, "each tap")
    yield share(2, runs[2]).below(HALF, "how early")
    yield share(4, runs[4]).above(MOST, "how early")


@finding(13, "Based needs a short kernel of two taps or more in layer 0: one tap reaches 6.3 % at "
         "most, two to four 97 to 99 % from width 64 on, an implicit long one 9.1 % at most",
         "one tap", "two to four", "long")  # fmt: skip
def based_needs_a_short_kernel(cells: StudyCells) -> Iterator[Claim]:
    """Accuracy by kernel."""
    for width in WIDTHS:
        for option, bound, part in (
            ("kernel=1", 0.063, "one tap"),
            ("kernel=implicit", 0.091, "long"),
        ):
            yield cells.accuracy("based", width, option=option).below(bound + ACCURACY, part)
        if width >= 64:
            for option in ("kernel=2", "", "kernel=4"):
                works = cells.accuracy("based", width, option=option)
                yield works.above(0.97 - ACCURACY, "two to four")


@finding(14, "Attention needs positions (100 and 5.6 % with and without); they do not help state "
         "space models", "attention", "state space models")  # fmt: skip
def only_attention_needs_positions(cells: StudyCells) -> Iterator[Claim]:
    """With learned positions less without."""
    for width in WIDTHS:
        for mixer in MIXERS:
            learned, none = (
                cells.accuracy(mixer, width, positions=positions)
                for positions in ("learned", "none")
            )
            difference = dataclasses.replace(
                learned - none, published=published_gain_by_positions(mixer, width)
            )
            if mixer != "attention":
                yield difference.below(ACCURACY, "state space models")
            elif width > 16:
                yield difference.above(HALF, "attention")
                yield none.below(0.091 + ACCURACY, "attention")


FINDINGS = (
    attention_recalls,
    based_recalls,
    mamba_is_the_best_ssm,
    others_fail,
    inductive_runs,
    direct_runs,
    base_conv_has_some_induction,
    one_layer_is_enough,
    third_layer_changes_little,
    who_writes_the_answer,
    mamba_needs_two_taps,
    more_taps_retrieve_earlier,
    based_needs_a_short_kernel,
    only_attention_needs_positions,
)
