"""Fields of a config.json: valid values, there and back."""

import pytest

from mecheval_jax.interop import huggingface_fields as fields


# Catches true taken for 1, a name that is read and not written back, and a value that is written
# by the second of two names.
@pytest.mark.parametrize(
    ("values", "theirs", "ours", "again"),
    [
        (fields.COUNT, 3, 3, 3),
        (fields.COUNT_OR_NULL, None, 0, None),
        (fields.COUNT_OR_AUTO, "auto", 0, "auto"),
        (fields.ACTIVATION, "gelu_fast", "gelu_tanh", "gelu_new"),
        (fields.ACTIVATION, "swish", "silu", "silu"),
        (fields.SHARE, 1, 1, 1),
        (fields.FLAG, False, False, False),
    ],
)
def test_values_there_and_back(values, theirs, ours, again):
    assert values.read(theirs) == ours
    assert values.write(ours) == again


@pytest.mark.parametrize(
    ("values", "wrong"),
    [
        (fields.COUNT, True),
        (fields.COUNT, 0),
        (fields.COUNT, None),
        (fields.POSITIVE, 0.0),
        (fields.POSITIVE, True),
        (fields.SHARE, 1.5),
        (fields.FLAG, 1),
        (fields.ACTIVATION, "tanh"),
    ],
)
def test_wrong_values(values, wrong):
    """Catches a value that would be converted into another model."""
    with pytest.raises(ValueError, match=values.valid.split(",")[0]):
        values.read(wrong)


def test_names_of_ours():
    """Catches an option of the mixer that is taken for a field of the model."""
    field = fields.field("norm_epsilon .epsilon", fields.POSITIVE, 1e-5)
    assert field.ours == ("norm_epsilon", "mixer_options.epsilon")
    assert fields.only("silu", "swish").default == "silu"
