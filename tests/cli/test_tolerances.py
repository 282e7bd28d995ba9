"""``clip-robust tolerances``: from reports of twins to the profile, and every way in which that can go wrong."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib

import pytest
from handmade_reports import MEAN, NLL, TOP1, record
from hypothesis import given
from hypothesis import strategies as st

from pytest_clip_robust import cli
from pytest_clip_robust.cli import profile_files
from pytest_clip_robust.cli.panel import Panel
from pytest_clip_robust.cli.tolerances import ROWS_SHOWN, find_tolerances
from pytest_clip_robust.stats.spread import difference_bounds, rounded_up


def tolerances(path):
    return tomllib.loads(path.read_text()).get("tolerances", {})


@pytest.fixture
def call(capsys, profile):
    """Run the command on reports; return its exit status, output and errors."""

    def run(*reports, to=profile, options=()):
        arguments = [part for report in reports for part in ("--report", str(report))]
        status = cli.main(["tolerances", *arguments, "--clip-profile", str(to), *options])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def test_the_spread_of_twins_becomes_the_tolerance(call, make_report, profile):
    values = {"a": (0.70, 0.60), "b": (0.62, 0.60), "c": (0.74, 0.60)}
    reports = [make_report(name, {TOP1: one, MEAN: two}) for name, (one, two) in values.items()]
    status, out, err = call(*reports)
    (bound,) = difference_bounds([[0.70], [0.62], [0.74]])
    assert (status, err) == (0, "")
    assert tolerances(profile) == {TOP1: rounded_up(float(bound))}
    assert "3 checkpoints, 2 gates: the tolerance of 1 is raised, 1 keep theirs" in out


def test_everything_else_in_the_profile_stays_as_it_is(call, make_report, profile):
    before = profile.read_text()
    call(make_report("a", {TOP1: 0.7}), make_report("b", {TOP1: 0.5}))
    assert profile.read_text().startswith(before)
    assert set(tolerances(profile)) == {TOP1}


def test_entries_are_replaced_in_their_place_and_others_follow_them(call, make_report, profile):
    profile.write_text(
        f'[tolerances]  # from seeds\n# by hand\n"shift.top1[dim]" = 0.3\n"{TOP1}" = 0.5  # old\n'
        '"x.y" = 0.1\n\n# Demands.\n[thresholds]\n"zero_shot.top1" = { at_least = 0.5 }\n'
    )
    reports = [make_report(name, {TOP1: one, MEAN: one}) for name, one in (("a", 0.7), ("b", 0.6))]
    status, _, _ = call(*reports)
    found = tolerances(profile)
    assert status == 0
    assert found[TOP1] != 0.5
    assert profile.read_text() == (
        f'[tolerances]  # from seeds\n# by hand\n"shift.top1[dim]" = 0.3\n"{TOP1}" = {found[TOP1]}  # old\n'
        f'"x.y" = 0.1\n"{MEAN}" = {found[MEAN]}\n\n# Demands.\n[thresholds]\n"zero_shot.top1" = {{ at_least = 0.5 }}\n'
    )


def test_an_entry_that_is_not_needed_any_more_is_removed(call, make_report, profile):
    profile.write_text(f'[tolerances]\n"{TOP1}" = 0.5\n"{MEAN}" = 0.4\n')
    call(*(make_report(name, {TOP1: 0.7, NLL: one}) for name, one in (("a", 1.0), ("b", 1.0))))
    assert tolerances(profile) == {MEAN: 0.4}


def test_a_general_tolerance_of_the_profile_is_a_floor(call, make_report, profile):
    profile.write_text('[tolerances]\n"zero_shot.top1" = 0.9\n"zero_shot.mean_per_class" = 0.001\n')
    reports = [make_report(name, {TOP1: one, MEAN: 0.5}) for name, one in (("a", 0.7), ("b", 0.65))]
    call(*reports)
    assert TOP1 not in tolerances(profile)
    assert tolerances(profile)["zero_shot.top1"] == 0.9


def test_a_gate_that_keeps_its_tolerance_is_not_changed_by_that_of_its_whole_set(call, make_report, profile):
    whole, part = "shift.top1[dim]", "shift.top1[dim/red]"
    call(*(make_report(name, {whole: one, part: 0.5}, half=1e-6) for name, one in (("a", 0.7), ("b", 0.3))))
    found = tolerances(profile)
    assert found[whole] > 0.4
    assert found[part] < found[whole]


@pytest.mark.parametrize(("options", "written"), [(("--dry-run",), False), (("--output", "other.toml"), True)])
def test_the_profile_itself_can_stay_untouched(call, make_report, profile, tmp_path, monkeypatch, options, written):
    monkeypatch.chdir(tmp_path)
    before = profile.read_text()
    _, out, _ = call(make_report("a", {TOP1: 0.7}), make_report("b", {TOP1: 0.5}), options=options)
    assert profile.read_text() == before
    assert (tmp_path / "other.toml").exists() == written
    assert TOP1 in (tolerances(tmp_path / "other.toml") if written else out)


def test_line_ends_stay_as_they_are(call, make_report, profile):
    profile.write_bytes(f'[tolerances]\r\n"{TOP1}" = 0.5\r\n\r\n[thresholds]\r\n'.encode())
    call(make_report("a", {TOP1: 0.7}), make_report("b", {TOP1: 0.5}))
    assert profile.read_bytes().count(b"\r\n") == 4


def test_a_gate_that_one_checkpoint_lacks_is_named_and_gets_none(call, make_report, profile):
    reports = [make_report("a", {TOP1: 0.7, NLL: 1.0}), make_report("b", {TOP1: 0.5, "test_nll": "no such image"})]
    status, out, _ = call(*reports)
    assert status == 1
    assert f"{NLL} gets no tolerance: it was not measured on b" in out
    assert set(tolerances(profile)) == {TOP1}


def test_the_gates_with_the_largest_tolerance_are_listed_first(call, make_report):
    gates = {f"zero_shot.top{k}[photos]": 0.9 * 0.6 ** (ROWS_SHOWN + 2 - k) for k in range(ROWS_SHOWN + 3)}
    reports = [
        make_report(name, {key: k * one for key, one in gates.items()}, tolerance=1e-9)
        for name, k in (("a", 0.0), ("b", 1.0))
    ]
    _, out, _ = call(*reports)
    lines = out.splitlines()
    assert lines[1].split()[0] == f"zero_shot.top{ROWS_SHOWN + 2}[photos]"
    assert lines[ROWS_SHOWN + 1].startswith("and ")
    assert f"2 checkpoints, {len(gates)} gates: " in lines[ROWS_SHOWN + 2]


@pytest.mark.parametrize(
    ("second", "about", "message"),
    [
        ({TOP1: 0.6}, {"data": "d2"}, "was not measured in the same way: data of a is 'd1', and of b 'd2'"),
        ({TOP1: 0.6}, {"precision": "bf16"}, "precision of a is '', and of b 'bf16'"),
        ({NLL: 0.6}, {}, "no gate was measured on all of a, b; measure them with the same profile"),
        ({TOP1: "no weights\nat all"}, {}, "b: no gate was measured: no weights"),
        ({TOP1: 0.6}, {"weights": "weights of a"}, "a and b have the same weights (weights of a)"),
        ({}, {}, "a spread needs two or more checkpoints, and there is only a"),
    ],
)
def test_reports_without_a_spread_are_refused_in_one_line(call, make_report, profile, second, about, message):
    before = profile.read_text()
    status, out, err = call(make_report("a", {TOP1: 0.7}), make_report("b", second, **about))
    assert status == 2
    assert message in err
    assert (err.count("\n"), out, profile.read_text()) == (1, "", before)


def test_reports_of_one_label_are_told_apart_by_their_files(call, make_report, tmp_path):
    one = make_report("m", {TOP1: 0.7}, data="d1")
    one = one.rename(tmp_path / "one.json")
    two = make_report("m", {TOP1: 0.6}, data="d2", weights="others")
    _, _, err = call(one, two)
    assert f"data of m of {one} is 'd1', and of m of {two} 'd2'" in err


def test_a_report_that_already_used_the_tolerance_does_not_know_the_default(call, make_report, profile):
    profile.write_text(f'[tolerances]\n"{TOP1}" = 0.5\n')
    reports = [make_report(name, {TOP1: one}, tolerance=0.5) for name, one in (("a", 0.7), ("b", 0.6))]
    status, _, err = call(*reports)
    assert status == 2
    assert f"with the tolerance of {TOP1} in the profile, 0.5, so they do not have its default" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --model two or more times"),
        (["--model", "py:a:b", "--report", "r.json"], "give --model two or more times"),
        (["--model", "py:a:b"], "a spread needs two or more checkpoints, and --model is given once"),
        (["--model", "py:a:b", "--model", "py:a:b"], "--model py:a:b is given twice"),
        (["--report", "r.json", "--report", "r.json"], "--report r.json is given twice"),
        (["--model", "py:a:b", "--model", "pie:a:b"], "unknown prefix 'pie'"),
        (["--report", "r.json", "--report", "s.json"], "no file r.json"),
        (["--report", "r.json", "--", "-n", "2"], "--report runs no tests, so -n 2 after -- has no use"),
    ],
)
def test_wrong_arguments_are_one_line(capsys, profile, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    split = arguments.index("--") if "--" in arguments else len(arguments)
    own, passed = arguments[:split], arguments[split:]
    assert cli.main(["tolerances", *own, "--clip-profile", str(profile), *passed]) == 2
    err = capsys.readouterr().err
    assert err.startswith("clip-robust tolerances: error: ")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("showroom", "profile 'showroom' is built in; copy "),
        ("site-packages/p/x.toml", "x.toml is part of an installed package; copy it"),
        ("missing.toml", "no profile 'missing.toml'; give a TOML file"),
        ("broken.toml", "profile broken.toml: "),
        ("wrong.toml", "unknown section 'tolerance' (did you mean 'tolerances'?)"),
    ],
)
def test_profiles_that_cannot_be_edited_are_refused(call, make_report, tmp_path, monkeypatch, source, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "site-packages" / "p").mkdir(parents=True)
    (tmp_path / "site-packages" / "p" / "x.toml").write_text("")
    (tmp_path / "broken.toml").write_text("[thresholds")
    (tmp_path / "wrong.toml").write_text("[tolerance]")
    status, _, err = call(make_report("a", {TOP1: 0.7}), make_report("b", {TOP1: 0.6}), to=source)
    assert status == 2
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "start", "light"),
    [
        (["--help"], "usage: clip-robust [-h] COMMAND", {"numpy", "scipy", "torch", "pytest", "tomlkit"}),
        (["tolerances", "--help"], "usage: clip-robust tolerances (--model", {"torch", "pytest"}),
    ],
)
def test_help_imports_nothing_heavy(arguments, start, light):
    code = (
        f"import sys\nfrom pytest_clip_robust import cli\ntry: cli.main({arguments})\nexcept SystemExit: pass\n"
        f"print(sorted({light} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(start)
    assert done.stdout.rstrip().endswith("[]")


@pytest.mark.parametrize("arguments", [[], ["tolerence"], ["tolerances"]])
def test_what_is_no_command_is_a_usage_error(capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert "usage: clip-robust" in capsys.readouterr().err


@given(st.lists(st.lists(st.floats(0.0, 1.0), min_size=2, max_size=2), min_size=2, max_size=5), st.floats(0.0, 0.5))
def test_no_tolerance_is_below_the_default_nor_finer_than_two_digits(values, default):
    panel = Panel(
        checkpoints=tuple(map(str, range(len(values)))),
        gates={
            key: tuple(record(key, one[place], model="m", tolerance=default) for one in values)
            for place, key in enumerate((TOP1, MEAN))
        },
        unmeasured={},
    )
    for found in find_tolerances(panel, {}):
        assert found.floor == default
        assert found.tolerance >= default
        assert found.tolerance in {default, rounded_up(found.tolerance)}


def test_a_profile_that_cannot_be_written_is_one_line(call, make_report, profile, monkeypatch):
    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(profile_files, "write_whole", full)
    status, _, err = call(make_report("a", {TOP1: 0.7}), make_report("b", {TOP1: 0.5}))
    assert status == 2
    assert err.endswith("release.toml: cannot be written: No space left on device\n")


def test_a_closed_pipe_loses_nothing_and_shows_no_traceback(make_report, profile):
    reports = [str(make_report(name, {TOP1: value})) for name, value in (("a", 0.70), ("b", 0.62))]
    arguments = ["tolerances", *(part for one in reports for part in ("--report", one)), "--clip-profile", str(profile)]
    reading, writing = os.pipe()
    os.close(reading)
    code = f"import sys; from pytest_clip_robust.cli import main; sys.exit(main({arguments!r}))"
    done = subprocess.run([sys.executable, "-c", code], stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (cli.FAILED, "")
    assert tolerances(profile)
