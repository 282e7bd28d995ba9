from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_clip_robust.plugin.parallel.capacity import pin
from pytest_clip_robust.plugin.parallel.devices import Device
from pytest_clip_robust.plugin.parallel.slots import cpu_slots, gpu_slots
from pytest_clip_robust.system.machine import count_cores, free_memory

memories = st.floats(0, 200, allow_nan=False)


def devices(*free):
    return [Device(f"GPU-{i}", each) for i, each in enumerate(free)]


def test_a_worker_has_a_gpu_to_itself_unless_it_says_what_it_needs():
    assert gpu_slots(devices(16, 0.1), None) == [(device,) for device in devices(16, 0.1)]


def test_every_gpu_gets_its_first_worker_before_any_gets_its_second():
    slots = gpu_slots(devices(24, 5, 17), 8)
    assert [slot.id for (slot,) in slots] == ["GPU-0", "GPU-2", "GPU-0", "GPU-2", "GPU-0"]
    assert {slot.free for (slot,) in slots} == {8}


def test_a_worker_that_fits_alone_may_use_what_there_is():
    assert gpu_slots(devices(15), 8) == [tuple(devices(15))]


def test_the_first_worker_gets_several_gpus_and_the_others_what_is_left():
    assert gpu_slots(devices(16, 16, 24), 12, first=2) == [
        tuple(devices(16, 16)),
        (Device("GPU-2", 12.0),),
        (Device("GPU-2", 12.0),),
    ]
    instances = [Device("MIG-1", 10.0), Device("GPU-0", 20.0), Device("GPU-1", 20.0)]
    assert gpu_slots(instances, None, first=2) == [tuple(instances[1:]), (instances[0],)]
    assert gpu_slots(instances, None, first=3) == []


def test_no_room_is_no_slot():
    assert gpu_slots(devices(4, 5), 8) == []
    assert gpu_slots([], 8) == gpu_slots([], None) == []


@given(free=st.lists(memories, max_size=9), need=st.floats(0.1, 50))
def test_slots_fill_each_gpu_and_never_more(free, need):
    taken = Counter(slot.id for (slot,) in gpu_slots(devices(*free), need))
    for device in devices(*free):
        assert taken[device.id] * need <= device.free + need * 1e-6
        assert (taken[device.id] + 1) * need > device.free


@pytest.mark.parametrize(
    ("cores", "memory", "need", "expected"),
    [
        (8, 100.0, None, 8),
        (8, 9.0, None, 2),
        (8, 7.0, 1.0, 7),
        (8, 0.5, None, 1),
        (8, None, None, 8),
        (2, 64.0, 40.0, 1),
    ],
)
def test_on_the_cpu_cores_and_memory_bound_the_workers(cores, memory, need, expected):
    assert cpu_slots(cores, memory, need) == expected


def test_a_container_s_limits_count(tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal: 99999999 kB\nMemAvailable:   8388608 kB\n")
    assert free_memory(tmp_path, tmp_path / "meminfo") == 8.0
    (tmp_path / "memory.max").write_text(f"{4 * 2**30}\n")
    (tmp_path / "memory.current").write_text(f"{2**30}\n")
    assert free_memory(tmp_path, tmp_path / "meminfo") == 3.0
    (tmp_path / "memory.stat").write_text(f"anon 5\ninactive_file {2**29}\nactive_file 7\n")
    assert free_memory(tmp_path, tmp_path / "meminfo") == 3.5  # cached files are dropped when memory is needed
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory(tmp_path, tmp_path / "meminfo") == 8.0
    assert free_memory(tmp_path / "none", tmp_path / "none") is None
    unlimited = count_cores(tmp_path)
    (tmp_path / "cpu.max").write_text("100000 100000\n")
    assert count_cores(tmp_path) == 1 <= unlimited
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert count_cores(tmp_path) == unlimited


def test_a_pin_numbers_gpus_as_nvidia_smi_does_unless_the_user_says_otherwise():
    pinned = {"CUDA_VISIBLE_DEVICES": "GPU-0", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert pin((Device("GPU-0", 1),), {}) == pinned
    assert pin(tuple(devices(1, 2)), {})["CUDA_VISIBLE_DEVICES"] == "GPU-0,GPU-1"
    assert pin((Device("GPU-0", 1),), {"CUDA_DEVICE_ORDER": "FASTEST_FIRST"})["CUDA_DEVICE_ORDER"] == "FASTEST_FIRST"
