from __future__ import annotations

import json

import pytest

from quantbento.core.errors import QuantbentoError
from quantbento.judging.bench import document


def test_a_part_is_replaced_and_the_others_stay(tmp_path):
    path = tmp_path / "r" / "bench.json"
    document.write(path, models=[{"tag": "a:1"}], environment={"cpu": "x"})
    run = {"url": "u", "model": "a:1", "mode": "closed", "clients": 1, "throughput": 1.0}
    document.write(path, served=document.with_served(path, [run]))
    document.write(path, served=document.with_served(path, [run | {"throughput": 2.0}, run | {"clients": 16}]))
    found = json.loads(path.read_text())
    assert found["schema_version"] == 1
    assert found["models"] == [{"tag": "a:1"}]
    assert [(r["clients"], r["throughput"]) for r in found["served"]] == [(1, 2.0), (16, 1.0)]
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(("text", "said"), [("{", "damaged"), ("{}", "damaged"), ('{"schema_version": 9}', "newer")])
def test_another_file_is_not_overwritten(tmp_path, text, said):
    path = tmp_path / "bench.json"
    path.write_text(text)
    with pytest.raises(QuantbentoError, match=said):
        document.write(path, models=[])
    assert path.read_text() == text


def test_the_cost_of_a_million():
    assert document.cost_per_million(3.6, 1000) == pytest.approx(1.0)  # 1000 s at 0.001 a second
