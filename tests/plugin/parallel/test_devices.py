from __future__ import annotations

import pytest

from pytest_clip_robust.plugin.parallel.devices import Device, Gpu, find_devices, parse_gpus, visible

TABLE = """\
0, GPU-aaaa1111-0000-0000-0000-000000000000, 80000, Disabled
1, GPU-aaaa2222-0000-0000-0000-000000000000, 40960, Enabled
2, GPU-bbbb3333-0000-0000-0000-000000000000, 1024, [N/A]
3, GPU-cccc4444-0000-0000-0000-000000000000, [N/A], [N/A]
"""

LISTING = """\
GPU 0: NVIDIA A100-SXM4-80GB (UUID: GPU-aaaa1111-0000-0000-0000-000000000000)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-aaaa2222-0000-0000-0000-000000000000)
  MIG 3g.20gb     Device  0: (UUID: MIG-1111aaaa-0000-0000-0000-000000000000)
  MIG 1g.5gb+me   Device  1: (UUID: MIG-2222bbbb-0000-0000-0000-000000000000)
  MIG 1c.2g.10gb  Device  2: (UUID: MIG-GPU-aaaa2222-0000-0000-0000-000000000000/3/0)
GPU 2: NVIDIA T400 (UUID: GPU-bbbb3333-0000-0000-0000-000000000000)
"""

PLAIN = [Gpu("0", "GPU-aa11", 16.0), Gpu("1", "GPU-aa22", 8.0), Gpu("2", "GPU-bb33", 4.0)]


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """Put an nvidia-smi on the path that answers `table` and `listing`."""

    def install(table, listing=""):
        (tmp_path / "table").write_text(table)
        (tmp_path / "listing").write_text(listing)
        script = tmp_path / "nvidia-smi"
        script.write_text(
            f'#!/bin/sh\ncase "$1" in -L) exec /bin/cat {tmp_path}/listing;; esac\nexec /bin/cat {tmp_path}/table\n'
        )
        script.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))

    return install


def test_gpus_and_instances_are_read_with_their_free_memory():
    whole, split, small, shared = parse_gpus(TABLE, LISTING)
    assert (whole.index, whole.free, whole.instances) == ("0", 80000 / 1024, ())
    assert split.instances == (
        Device("MIG-1111aaaa-0000-0000-0000-000000000000", 20),
        Device("MIG-2222bbbb-0000-0000-0000-000000000000", 5),
        Device("MIG-GPU-aaaa2222-0000-0000-0000-000000000000/3/0", 10),
    )
    assert (small.free, small.instances) == (1.0, ())
    assert shared.free == 0.0


def test_without_a_restriction_every_gpu_and_every_instance_is_there_by_uuid(nvidia_smi):
    nvidia_smi(TABLE, LISTING)
    assert [device.id.split("-0000")[0] for device in find_devices({})] == [
        "GPU-aaaa1111", "MIG-1111aaaa", "MIG-2222bbbb", "MIG-GPU-aaaa2222", "GPU-bbbb3333", "GPU-cccc4444",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [
        ("2,0", ["2", "0"]),
        (" 1 , 2 ", ["1", "2"]),
        ("GPU-aa22,0", ["GPU-aa22", "0"]),
        ("GPU-bb", ["GPU-bb"]),
        ("GPU-aa", []),
        ("0,9,1", ["0"]),
        ("0,-1,1", ["0"]),
        ("0,0,1", ["0", "1"]),
        ("-1", []),
        ("", []),
        ("NoDevFiles", []),
    ],
)
def test_what_the_caller_allows_is_kept_word_for_word(allowed, expected):
    assert [device.id for device in visible(PLAIN, allowed)] == expected


def test_an_instance_is_found_by_its_id_and_a_split_gpu_is_its_first_instance():
    gpus = parse_gpus(TABLE, LISTING)
    assert visible(gpus, "MIG-2222bbbb-0000-0000-0000-000000000000,1") == [
        Device("MIG-2222bbbb-0000-0000-0000-000000000000", 5),
        Device("1", 20),
    ]


def test_a_machine_without_a_driver_has_none(monkeypatch, tmp_path, nvidia_smi):
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    assert find_devices({}) == []
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed'\nexit 9\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_devices({}) == []


def test_fake_gpus_stand_in_for_real_ones_and_obey_the_caller():
    fakes = {"CLIP_ROBUST_FAKE_GPUS": "16,8.5"}
    assert find_devices(fakes) == [Device("GPU-fake-0", 16), Device("GPU-fake-1", 8.5)]
    assert find_devices({**fakes, "CUDA_VISIBLE_DEVICES": "1"}) == [Device("1", 8.5)]
    assert find_devices({"CLIP_ROBUST_FAKE_GPUS": ""}) == []
