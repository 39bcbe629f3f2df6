from __future__ import annotations

import pytest

from quantbento.making.sensitivity.names import plain
from quantbento.making.sensitivity.rows import place
from quantbento.quantizers.base import exactly


@pytest.mark.parametrize(
    ("module", "block", "kind"),
    [
        ("encoder.layer.3.attention.self.query", "encoder.layer.3", "attention.self.query"),
        ("/encoder/layer.0/output/MatMul", "encoder.layer.0", "output.MatMul"),
        ("pooler.dense", "", "pooler.dense"),
        ("0", "", "0"),
        ("layer1.0.conv1", "layer1.0", "conv1"),
    ],
)
def test_the_place_of_a_layer(module, block, kind):
    assert place(module) == (block, kind)


def test_a_pattern_is_read_back():
    names = ["a[0].b*", "what?"]
    assert [plain(pattern) for pattern in exactly(names)] == names
