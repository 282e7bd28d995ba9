"""The benchmark of scale: its unit costs are those of the real code, and its table follows from them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))

import scaling
from scaling_costs import ROWS, measured


@pytest.fixture
def simulated(monkeypatch, capsys):
    """Return a function that runs `simulate`, and returns the rows of its table as dictionaries."""

    def run(*options):
        monkeypatch.setattr(sys, "argv", ["scaling.py", "simulate", *options])
        scaling.main()
        lines = [
            line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")
        ]
        return [dict(zip(lines[0], row, strict=True)) for row in lines[1:]]

    return run


def costs_in(section, **sizes):
    given = {"shards": 16, "samples": (500, 1000), "models": 2, "gates": 4} | sizes
    return {one.name: one.value for one in measured(sections=[section], **given)}


SMALL = ("--images=1e6", "--models=4", "--gates=20", "--sets=10", "--towers=ViT-B-32")


def test_the_table_has_a_row_for_each_tower_way_and_number_of_gpus(simulated):
    rows = simulated("--images=1e5", "--models=2", "--gates=10", "--sets=5", "--gpus", "1", "4")
    assert [(row["tower"], row["way"], row["GPUs"]) for row in rows] == [
        (tower, way, gpus) for tower in ("ViT-B-32", "ViT-L-14") for way in ("workers", "ray") for gpus in ("1", "4")
    ]


def test_bytes_and_money_follow_from_the_measured_row_and_the_price(simulated):
    (row,) = (one for one in simulated(*SMALL, "--gpus=1", "--gpu-hour=10") if one["way"] == "workers")
    stored = 4e6 * json.loads(scaling.COSTS.read_text())["costs"]["store.bytes_per_row.512"]["value"]
    assert float(row["store (TB)"]) == pytest.approx(stored / 1e12, abs=0.006)
    assert float(row["$ GPUs"]) == pytest.approx(10 * float(row["hours"]), abs=1)


def test_cores_that_decode_too_slowly_are_the_limit(simulated):
    slow, fast = (
        float(simulated(*SMALL, "--gpus=1", f"--cores={cores}", "--slow-share=0")[0]["hours"]) for cores in (1, 16)
    )
    assert slow > 8 * fast


def test_a_line_goes_through_the_ends():
    assert scaling.line([(10, 3.0), (20, 99.0), (30, 7.0)]) == pytest.approx((1.0, 0.2))


def test_requests_to_a_bucket_are_counted():
    pytest.importorskip("moto.server", reason="needs moto[server,s3]")
    pytest.importorskip("s3fs")
    found = costs_in("requests")
    assert found["bucket.write.put_object"] == 12
    heads = sum(number for name, number in found.items() if name.startswith("bucket.write.head"))
    assert heads <= 1, "at most one, to make the folder of the key; not one for each shard"
    assert found["bucket.read_first.get_object"] == 12
    # Older releases of s3fs list with a paginator, which is not counted.
    assert found.get("bucket.read_own.list_objects_v2", 1) == 1
    assert "bucket.read_own.get_object" not in found, "the writer knows what its shards hold"


def test_a_gate_of_a_report_costs_the_same_bytes_in_json_for_any_number_of_gates():
    few, many = (costs_in("report", gates=gates)[f"report.bytes.report.json.1x{gates}"] for gates in (22, 88))
    assert many / few == pytest.approx(4, rel=0.2)


def test_a_row_costs_its_numbers_and_a_digest():
    found = costs_in("rows", shards=1)
    for width in (512, 768, 1024):
        assert 4 * width + 64 < found[f"store.bytes_per_row.{width}"] < 4 * width + 90
    assert ROWS == 2048


def test_a_missing_cost_is_an_error_of_one_line(simulated, tmp_path):
    whole = json.loads(scaling.COSTS.read_text())
    file = tmp_path / "costs.json"
    for gone, line in (("store.bytes_per_row", "no cost 'store.bytes_per_row"), ("gate.", "no gates of two sizes")):
        kept = {name: one for name, one in whole["costs"].items() if not name.startswith(gone)}
        file.write_text(json.dumps(whole | {"costs": kept}))
        with pytest.raises(SystemExit, match=line):
            simulated(f"--costs={file}", "--gpus=1")


def test_an_unknown_section_is_an_error_of_one_line():
    with pytest.raises(SystemExit, match="unknown section 'rowz'; expected one of: rows, requests"):
        costs_in("rowz")
