"""Closed form and surgery agree about what a write does, in every mixer of a linear state."""

import numpy as np
import pytest

from mecheval_jax.evaluation.memory import closed_form
from mecheval_jax.evaluation.memory.closed_form import FEW, closed_form_error
from mecheval_jax.evaluation.memory.removal import MemoryPlace
from mecheval_jax.mixers.architectures import ARCHITECTURES
from mecheval_jax.site_path import in_mixer
from mecheval_jax.tasks.geometry import geometry
from tests.support import planted_memory

HYBRIDS = (
    ("rwkv7", "gla", "retnet", "delta_net"),
    ("gated_delta_net", "kda", "gated_delta_net_2", "comba"),
    ("mamba", "mamba2", "hgrn2", "gated_delta_product"),
    ("taylor_attention", "based", "gated_slot_attention", "mesa_net"),
    ("mamba3", "log_linear_mamba2", "mlstm"),
)
"""Every mixer with such a state, several in one model; Based has one in every second layer."""


def subject_of(mixers):
    heads = {"mamba2", "mamba3", "log_linear_mamba2"} & set(mixers)
    options = {"mixer_options": {"head_dim": 8}} if heads else {}
    return planted_memory.lively(",".join(mixers), layers=len(mixers), width=16, **options)


def test_every_linear_mixer_is_here():
    """Catches a mixer that no test compares."""
    here = {mixer for mixers in HYBRIDS for mixer in mixers}
    sites = {name: each.mixer(1).SITES for name, each in ARCHITECTURES.items()}
    assert {name for name, each in sites.items() if {"write", "state"} <= set(each)} == here


@pytest.mark.parametrize("mixers", HYBRIDS, ids=",".join)
def test_closed_form_and_surgery_agree(mixers):
    """Catches a decay on the wrong side of a write, and a query or value of another token."""
    subject = subject_of(mixers)
    for layer, mixer in enumerate(mixers):
        place = MemoryPlace(in_mixer(layer, "write"), 0)
        error, _ = closed_form_error(subject, subject.batch, place)
        assert error < 1e-4, mixer


def test_activations_of_half_the_bits():
    """Catches a comparison that ends at the type of the reading, or is of rounding."""
    subject = planted_memory.lively("gated_delta_net", dtype="bfloat16")
    error, _ = closed_form_error(subject, subject.batch, MemoryPlace(in_mixer(0, "write"), 0))
    assert error < 1e-4


def test_pairs_that_are_held_behind_their_later_token():
    """Catches documents without a token there, which took the number from all others."""
    subject = planted_memory.lively("retnet")
    behind = MemoryPlace(in_mixer(0, "write"), 2)
    held = np.asarray(geometry(subject.task, subject.batch).position(2)) >= 0
    assert held.any()
    assert not held.all()
    error, documents = closed_form_error(subject, subject.batch, behind)
    assert error < 1e-4
    assert 0 < documents <= min(FEW, held.sum())
    nowhere = MemoryPlace(in_mixer(0, "write"), subject.task.max_length)
    assert closed_form_error(subject, subject.batch, nowhere) is None


def test_a_mixer_of_ones_own_is_not_compared(monkeypatch):
    """Catches an analysis of a state that ends since nobody knows its mixing matrices."""
    subject = subject_of(("gla",))
    monkeypatch.setattr(closed_form, "has_matrices", lambda mixer: False)
    place = MemoryPlace(in_mixer(0, "write"), 0)
    assert closed_form_error(subject, subject.batch, place) is None
