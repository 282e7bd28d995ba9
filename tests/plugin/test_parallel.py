"""Runs on several workers as a user meets them; GPUs are fakes, workers are real processes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import defaultdict

import pytest

from pytest_clip_robust.system.threads import THREAD_CAPS

MODEL = "--model=py:colour_clip:load"
OTHER = "--model=py:colour_clip:load_other"
PROFILE = "--clip-profile=profile.toml"
GPU = "--clip-device=auto"

CONFTEST = """
import json, os, sys
import pytest

NAMES = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "CLIP_ROBUST_GPU_MEMORY")
NAMES += ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
AT_IMPORT = {name: os.environ.get(name, "") for name in NAMES}
TORCH_BEFORE = "torch" in sys.modules
CRASH = os.environ.get("CRASH_IN", "nowhere")

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item):
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    with open(os.environ["LOG"], "a") as log:
        seen = {"test": item.name, "worker": worker, "torch_before": TORCH_BEFORE, **AT_IMPORT}
        log.write(json.dumps(seen) + "\\n")
    if CRASH in item.name:
        os._exit(9)
"""

# Tests that are grouped like those of a model, and load none.
LIGHT = """
import pytest

@pytest.mark.clip_role("id", "shift")
@pytest.mark.parametrize("k", [1, 2, 3])
def test_top(clip_model_spec, dataset, k):
    pass

@pytest.mark.clip_role("shift")
def test_relative(clip_model_spec, dataset, id_set):
    pass

def test_unit():
    pass
"""

REAL = """
import pytest
from pytest_clip_robust.properties import accuracy, shift

@pytest.mark.clip_role("id", "shift")
@pytest.mark.parametrize("k", [1, 2])
def test_top(model, dataset, k, gate):
    gate(accuracy.top_k(model.zero_shot(dataset), k=k))

@pytest.mark.clip_role("shift")
def test_relative(model, dataset, id_set, gate):
    gate(shift.relative_robustness(model.zero_shot(dataset), model.zero_shot(id_set)))
"""


@pytest.fixture
def bench(crowd, monkeypatch):
    """The colour world with light tests, and a log of which worker ran what, where."""
    crowd.makeconftest(CONFTEST)
    crowd.makepyfile(test_suite=LIGHT)
    monkeypatch.setenv("LOG", str(crowd.path / "log"))
    for name in (*THREAD_CAPS, "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "PYTEST_XDIST_AUTO_NUM_WORKERS"):
        monkeypatch.delenv(name, raising=False)
    return crowd


@pytest.fixture
def real(bench):
    """The same with tests that measure."""
    bench.makepyfile(test_suite=REAL)
    return bench


def run(pytester, *arguments):
    """Return the result of a run, and the log of its workers."""
    (pytester.path / "log").unlink(missing_ok=True)
    result = pytester.runpytest(MODEL, PROFILE, "-p", "no:hypothesispytest", *arguments)
    log = pytester.path / "log"
    return result, [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def document(pytester, folder):
    """Read a report without what belongs to the moment; encoding is noted where it took longer than some seconds."""
    found = json.loads((pytester.path / folder / "report.json").read_text())
    del found["created"]
    found["notices"] = [line for line in found["notices"] if not re.match(r"encoded \d+ images of .* in ", line)]
    return found


def by_worker(log, key):
    found = defaultdict(set)
    for line in log:
        found[line["worker"]].add(line[key])
    return dict(found)


def test_auto_is_as_many_workers_as_gpus_hold_each_pinned_before_torch(bench, monkeypatch):
    monkeypatch.setenv("CLIP_ROBUST_FAKE_GPUS", "16,9")
    result, log = run(bench, GPU, "-n", "auto", "--clip-worker-memory=9")
    result.assert_outcomes(passed=8)
    result.stdout.fnmatch_lines(["clip-robust: 2 workers on 2 GPUs, * thread* each"])
    assert not any(line["torch_before"] for line in log)
    assert {line["CUDA_DEVICE_ORDER"] for line in log} == {"PCI_BUS_ID"}
    seen = {worker: found.pop() for worker, found in by_worker(log, "CUDA_VISIBLE_DEVICES").items()}
    assert seen == {"gw0": "GPU-fake-0", "gw1": "GPU-fake-1"}


def test_pins_stay_within_what_the_caller_allows_and_his_caps_stand(bench, monkeypatch, forked_workers):
    monkeypatch.setenv("CLIP_ROBUST_FAKE_GPUS", "16,16,16,16")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-fake-1")
    monkeypatch.setenv("MKL_NUM_THREADS", "7")
    result, log = run(bench, GPU, "-n", "auto")
    result.assert_outcomes(passed=8)
    assert {line["CUDA_VISIBLE_DEVICES"] for line in log} == {"3", "GPU-fake-1"}
    assert {line["MKL_NUM_THREADS"] for line in log} == {"7"}
    assert all(int(line["OMP_NUM_THREADS"]) >= 1 for line in log)


@pytest.mark.parametrize(
    ("gpus", "options", "complaint"),
    [
        ("16,16", ["-n3"], "-n 3: 2 GPUs have room for 2 workers, one each; use -n 2, or let *--clip-worker-memory*"),
        (
            "16",
            ["-n3", "--clip-worker-memory=8"],
            "-n 3: 1 GPU has room for 2 workers, --clip-worker-memory 8 GiB each; use -n 2, or lower it",
        ),
        ("16,4", ["-n3", GPU + "=cuda:1"], "-n 3: 1 GPU has room for 1 worker, one each; use -n 1, or *"),
        ("4,6", ["-nauto", "--clip-worker-memory=8"], "*: no worker fits on 2 GPUs with at most 6.0 GiB free; lower*"),
        ("16", ["-nauto", "--clip-worker-memory=much"], "*'much': expected GiB, a number above 0 such as 6"),
        ("16", ["-n1", "--clip-worker-memory=-1"], "*'-1': expected GiB, a number above 0 such as 6"),
        (
            "16,16",
            ["-nauto", "--clip-worker-gpus=3"],
            "--clip-worker-gpus 3: this run has only 2 GPUs; lower it",
        ),
        ("16,16", ["-n1", "--clip-worker-gpus=two"], "--clip-worker-gpus 'two': expected a whole number"),
        (
            "16,16,16",
            ["-n3", "--clip-worker-gpus=2"],
            "-n 3: 3 GPUs have room for 2 workers, the first with 2, one each; use -n 2, or let *",
        ),
    ],
)
def test_more_workers_than_there_is_room_for_is_a_usage_error(bench, monkeypatch, gpus, options, complaint):
    monkeypatch.setenv("CLIP_ROBUST_FAKE_GPUS", gpus)
    options = [option.replace("auto=", "") if option.endswith("cuda:1") else option for option in options]
    result = bench.runpytest(MODEL, PROFILE, GPU, *options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {complaint}"])
    result.stdout.no_fnmatch_line("*Traceback*")


ASKING = """
import os
import pytest

@pytest.mark.clip_gpu(count=2, memory=12)
@pytest.mark.parametrize("k", [1, 2])
def test_several(k):
    pass

@pytest.mark.clip_gpu(memory=20)
@pytest.mark.clip_role("id")
def test_large(clip_model_spec, dataset):
    pass

@pytest.mark.clip_role("shift")
@pytest.mark.parametrize("k", range(4))
def test_modest(clip_model_spec, dataset, k):
    pass

@pytest.mark.clip_gpu(memory=99)
@pytest.mark.clip_role("id")
def test_too_large(clip_model_spec, dataset):
    pass

@pytest.mark.clip_gpu(memory="99")
def test_wrong():
    pass
"""


def test_a_test_that_asks_for_gpus_runs_on_a_worker_that_has_them_and_fails_where_none_has(
    bench, monkeypatch, forked_workers
):
    monkeypatch.setenv("CLIP_ROBUST_FAKE_GPUS", "16,16,24")
    bench.makepyfile(test_suite=ASKING)
    result, log = run(bench, GPU, "-n", "auto", "--clip-worker-gpus=2", "-rf", "--clip-report=out")
    result.assert_outcomes(passed=7, errors=2)
    result.stdout.fnmatch_lines_random(
        [
            "clip-robust: 2 workers on 3 GPUs, *",
            "this test needs 1 GPU with 99 GiB (clip_gpu), but this process has only * GiB; raise --clip-worker-gpus*",
            "clip_gpu(memory='99'): expected the GiB needed on each GPU, a number such as 20",
        ]
    )
    pins = defaultdict(set)
    for line in log:
        pins[line["test"].partition("[")[0]].add((line["CUDA_VISIBLE_DEVICES"], line["CLIP_ROBUST_GPU_MEMORY"]))
    assert pins["test_several"] == {("GPU-fake-0,GPU-fake-1", "16.000,16.000")}
    assert pins["test_large"] == {("GPU-fake-2", "24.000")}
    (lost,) = document(bench, "out")["gates"]
    assert lost["verdict"] == "error"


@pytest.mark.parametrize(
    ("gpus", "device", "outcomes", "found"),
    [
        ("24,24", GPU, {"passed": 7, "errors": 2}, "only 24.0 GiB, 24.0 GiB"),
        ("24,24", GPU + "=cuda:1", {"passed": 5, "errors": 4}, "only 24.0 GiB"),
        ("24,24", "--clip-device=cpu", {"passed": 4, "errors": 5}, "none"),
        ("", GPU, {"passed": 4, "errors": 5}, "none"),
    ],
)
def test_without_workers_a_test_has_all_the_gpus_that_the_run_has(bench, monkeypatch, gpus, device, outcomes, found):
    monkeypatch.setenv("CLIP_ROBUST_FAKE_GPUS", gpus)
    bench.makepyfile(test_suite=ASKING)
    result = bench.runpytest(MODEL, PROFILE, device.replace("auto=", ""))
    result.assert_outcomes(**outcomes)
    result.stdout.fnmatch_lines(
        [f"this test needs 1 GPU with 99 GiB (clip_gpu), but this process has {found}; run it on a machine *"]
    )


def test_on_the_cpu_gpus_count_for_nothing_and_xdist_s_variable_wins(bench, monkeypatch, forked_workers):
    monkeypatch.setenv("CLIP_ROBUST_FAKE_GPUS", "16")
    monkeypatch.setenv("PYTEST_XDIST_AUTO_NUM_WORKERS", "2")
    result, log = run(bench, "--clip-device=cpu", "-n", "auto")
    result.assert_outcomes(passed=8)
    result.stdout.fnmatch_lines(["clip-robust: 2 workers on * core*, 1 thread each"])
    assert {line["CUDA_VISIBLE_DEVICES"] for line in log} == {""}


def test_all_tests_of_a_model_and_its_sets_run_on_one_worker_in_a_row(bench, forked_workers):
    result, log = run(bench, OTHER, "-n", "2")
    result.assert_outcomes(passed=15)
    homes = defaultdict(set)
    for line in log:
        if line["test"].startswith("test_top["):
            homes[line["test"].rpartition("-")[0].removeprefix("test_top[")].add(line["worker"])
    assert len(homes) == 4
    assert all(len(workers) == 1 for workers in homes.values())
    assert len(by_worker(log, "test")) == 2
    assert (bench.path / ".pytest_cache" / "v" / "clip-robust" / "seconds").is_file()


def test_a_crash_costs_one_test_and_the_worker_comes_back_on_its_gpu(bench, monkeypatch, forked_workers):
    monkeypatch.setenv("CLIP_ROBUST_FAKE_GPUS", "16,16")
    monkeypatch.setenv("CRASH_IN", "dim-2")
    result, log = run(bench, GPU, "-n", "2", "--clip-report=out", "-v")
    result.assert_outcomes(passed=7, failed=1)
    result.stdout.fnmatch_lines(
        ["scheduling tests via GroupScheduling", "replacing crashed worker *", "error *test_top[[]dim-2]*"]
    )
    ran = [line["test"] for line in log]
    assert len(ran) == len(set(ran)) == 8
    gpu = next(line for line in log if "dim-2" in line["test"])["CUDA_VISIBLE_DEVICES"]
    others = {line["CUDA_VISIBLE_DEVICES"] for line in log if line["worker"] == "gw2"}
    assert others <= {gpu}
    lost = [gate for gate in document(bench, "out")["gates"] if gate["verdict"] == "error"]
    assert [gate["measurement"] for gate in lost] == ["test_top[dim-2]"]
    assert lost[0]["message"].endswith("out of memory? See --clip-batch-size and --clip-worker-memory")


def test_a_lone_worker_that_crashes_is_replaced_and_nothing_hangs(bench, monkeypatch, forked_workers):
    monkeypatch.setenv("CLIP_ROBUST_FAKE_GPUS", "16,16")
    monkeypatch.setenv("CRASH_IN", "photos-1")
    result, log = run(bench, GPU, "-n", "1")
    result.assert_outcomes(passed=7, failed=1)
    assert {line["CUDA_VISIBLE_DEVICES"] for line in log} == {"GPU-fake-0"}
    assert {line["worker"] for line in log} == {"gw0", "gw1"}


def test_a_worker_that_always_dies_ends_the_run(bench, monkeypatch, forked_workers):
    monkeypatch.setenv("CRASH_IN", "test_top")
    result, _ = run(bench, "-n", "1", "--max-worker-restart=1")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*maximum crashed workers reached: 1*"])


def test_reports_are_the_same_for_any_number_of_workers_and_nothing_is_encoded_twice(real, monkeypatch, request):
    monkeypatch.setenv("CLIP_ROBUST_FAKE_GPUS", "16")
    real.runpytest(MODEL, PROFILE, GPU, "--clip-report=zero", "--clip-cache=cache-0").assert_outcomes(passed=5)
    for folder, options in (("auto", ["-nauto"]), ("two", ["-n2", "--clip-worker-memory=8"])):
        if folder == "two":  # the worker before imported everything itself
            request.getfixturevalue("forked_workers")
        result, _ = run(real, GPU, f"--clip-report={folder}", f"--clip-cache=cache-{folder}", *options)
        result.assert_outcomes(passed=5)
    zero, two, auto = (document(real, folder) for folder in ("zero", "two", "auto"))
    assert zero == two == auto
    assert zero["encoded"] == {"images": 132, "texts": 3, "answers": 0}


def test_a_worker_killed_while_it_encodes_loses_its_test_and_nothing_that_was_encoded_or_recorded(
    mortal, forked_workers
):
    mortal.makepyfile(test_suite=REAL)
    arguments = [PROFILE, "--snapshot-update", "--clip-baseline-name=colours", "-p", "no:hypothesispytest"]
    mortal.runpytest(MODEL, *arguments, "--clip-baselines=whole", "--clip-cache=other").assert_outcomes(passed=5)
    files = [mortal.path / name / "colours" / "test_suite.json" for name in ("whole", "killed")]
    files[1].parent.mkdir(parents=True)
    files[1].write_text(files[0].read_text().replace('"value": 1.0', '"value": 0.5'))
    (mortal.path / "kill_self").touch()
    result = mortal.runpytest("--model=py:mortal_clip:load", *arguments, "--clip-baselines=killed", "-n1")
    result.assert_outcomes(passed=4, failed=1)
    assert (mortal.path / "killed_self").exists()
    whole, killed = (json.loads(file.read_text())["gates"] for file in files)
    assert len(whole) == 5
    (lost,) = [key for key, entry in killed.items() if entry["value"] == 0.5]
    del killed[lost]
    assert {key: without_run(entry) for key, entry in whole.items() if key != lost} == {
        key: without_run(entry) for key, entry in killed.items()
    }
    encoded = next(int(line.split()[1]) for line in result.outlines if line.startswith("encoded "))
    assert encoded <= 132 - 2 * 16  # by the replacement; one batch may have been on its way to the store
    mortal.runpytest(MODEL, PROFILE).stdout.fnmatch_lines(["encoded 0 images and 0 texts; *"])


CHANGING = """
import itertools, os
import colour_clip

loads = itertools.count()

def load():
    encoder = colour_clip.load()
    encoder.identity = os.environ.get("PYTEST_XDIST_WORKER", "alone") + str(next(loads))
    return encoder
"""
CHANGED = "py:changing_clip:load: was loaded with different weights, * and *; run again*"


def test_a_run_whose_workers_load_different_weights_under_one_name_fails_and_records_nothing(real, forked_workers):
    real.makepyfile(changing_clip=CHANGING)
    arguments = ["--model=py:changing_clip:load", PROFILE, "-n2", "-p", "no:hypothesispytest"]
    result = real.runpytest(*arguments, "--clip-report=report", "--snapshot-update", "--clip-baseline-name=new")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=5)
    result.stdout.fnmatch_lines([CHANGED])
    assert document(real, "report")["exit_status"] == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["no baseline was recorded"])
    assert not [path for path in (real.path / "baselines").rglob("*") if path.is_file()]


def test_a_model_that_changed_when_one_process_loads_it_again_is_an_error(real):
    real.makepyfile(changing_clip=CHANGING)
    # pytest runs all tests of one model before those of the next, so that each is loaded once.
    real.makeconftest("""
import pytest

@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.callspec.params.get("k", 3))
""")
    result = real.runpytest("--model=py:changing_clip:load", MODEL, PROFILE)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([f"*{CHANGED}"])
    result.stdout.no_fnmatch_line("*Traceback*")


def without_run(entry):
    return {name: value for name, value in entry.items() if name != "run"}


@pytest.mark.parametrize(
    ("options", "scheduling"),
    [
        (["--dist=load"], "LoadScheduling"),
        (["--dist", "worksteal"], "WorkStealingScheduling"),
        (["-d", "--tx=2*popen"], "LoadScheduling"),
    ],
)
def test_the_user_s_own_way_of_distributing_stands(bench, options, scheduling, forked_workers):
    number = [] if "-d" in options else ["-n2"]
    result, _ = run(bench, "-v", *number, *options)
    result.assert_outcomes(passed=8)
    result.stdout.fnmatch_lines([f"scheduling tests via {scheduling}"])


def test_selections_and_early_ends_work_as_ever(bench, forked_workers):
    suite = (bench.path / "test_suite.py").read_text()
    bench.makepyfile(test_suite=suite.replace("def test_unit():\n    pass", "def test_unit():\n    assert False"))
    result, _ = run(bench, "-n2", "-k", "top or unit", "--maxfail=3")
    result.assert_outcomes(passed=6, failed=1)
    result, log = run(bench, "-n2", "--lf", "-x")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert [line["test"] for line in log] == ["test_unit"]
    result.stdout.fnmatch_lines(["*stopping after 1 failures*"])


def test_without_xdist_a_run_is_what_it_was_and_its_hooks_stay_unread(bench):
    program = (
        "import sys, pytest\n"
        "sys.modules.update(xdist=None, execnet=None)\n"
        f"code = pytest.main(['-p', 'syrupy', '-p', 'pytest_clip_robust.plugin.hooks', {MODEL!r}, {PROFILE!r}, '-q'])\n"
        "print([name for name in sys.modules if name.startswith('pytest_clip_robust.plugin.parallel')])\n"
        "sys.exit(code)\n"
    )
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=bench.path, capture_output=True, text=True, check=True, env=environment
    )
    assert "8 passed" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_with_xdist_and_no_workers_its_hooks_stay_unread(bench, start_session):
    hooks = "pytest_clip_robust.plugin.parallel.hooks"
    bench.makepyfile(test_suite=f"import sys\ndef test_it(clip_model_spec): assert '{hooks}' not in sys.modules")
    runs = [start_session(MODEL, PROFILE, *options) for options in ([], ["-n0"])]
    assert [run.wait() for run in runs] == [0, 0]
    assert all("1 passed" in run.output for run in runs)


def test_a_run_without_a_model_is_scheduled_by_xdist_alone(pytester):
    pytester.makepyfile("def test_one(): pass\ndef test_two(): pass")
    result = pytester.runpytest("-n2", "-v", "-p", "no:hypothesispytest")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["scheduling tests via LoadScheduling"])
    result.stdout.no_fnmatch_line("clip-robust:*")
