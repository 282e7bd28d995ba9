"""Names that try to be more than text, and a report in which every name is one of them."""

from __future__ import annotations

from handmade_reports import changed, document_of, flip, miss, record

from pytest_clip_robust.gates.record import record_error
from pytest_clip_robust.report.html.pictures import Picture, Shot

HOSTILE = {
    "html": "<img src=x onerror=alert(1)>",
    "end of script": "</script><script>alert(1)</script>",
    "end of style and title": "</style></title><!-- ",
    "attribute": "\" onmouseover='alert(1)' x=`",
    "entity": "&lt;b&gt; &#60;",
    "template": "{{ 7*7 }}{% raw %}",
    "ansi": "\x1b[31mred\x1b]8;;http://x\x07",
    "right to left": "cat\u202egnp.exe\u2066",
    "nul and controls": "a\x00b\x08\x7f\x9b\ufffe",
    "surrogate": "a\udcffb",
    "long": "name" * 5000,
    "table": "a | b |\n|---|---|",
    "link": "[x](javascript:alert(1)) ![i](//x) <http://x> www.x.com http://x @user #1",
    "code": "``` `a` ~~~ *b* __c__ ~~d~~ \\",
    "lines": "a\nb\r\nc\u2028d\x85e",
    "workflow command": "x\n::error title=a::b\r::set-output name=a::%0A%25,:",
    "rich markup": "[bold]x[/bold][link=http://x]",
    "heading": "# a\n- b\n1. c\n> d",
}


PICTURE = Picture(b"RIFF", 96, 72)


def hostile_pictures(name):
    """Return pictures of the samples of `hostile_plots`."""
    return {Shot(name, name): PICTURE, Shot(name, name, f"{name}/3"): PICTURE}


def hostile_plots(name):
    """Return gates with a plot of every kind, in which every name that comes from files is `name`."""
    bins = {"low": [0.0], "high": [1.0], "confidence": [0.9], "accuracy": [0.7], "n": [100.0]}
    roc = {"false_positive_rate": [0.0, 1.0], "true_positive_rate": [0.0, 1.0]}
    scores = {"low": [0.0], "high": [1.0], "inside": [1.0], "outside": [1.0]}
    pair = {"images": [name, name], "share": 0.5, "places": [[0.1, 0.2, 0.3, 0.4]], "right": [True]}
    gates = (
        ("calibration.ece_15_equal_width", "", {"plot": bins}),
        ("calibration.aurc", "", {"plot": {"coverage": [0.5, 1.0], "risk": [0.1, 0.2]}}),
        ("composition.accuracy", name, {"details": {"blind": 0.5}}),
        ("correspondence.pck_10", "", {"details": {f"class_{name}": 0.5}}),
        ("correspondence.recall_2cm", "", {"pairs": [pair]}),
        ("correspondence.recall_2cm", "0-60", {}),
        ("corruption.top1", f"{name}/3", {"misses": [miss(name, name, name)]}),
        ("corruption.mean_top1", name, {}),
        ("invariance.agreement", name, {}),
        ("invariance.radius_crop", "", {"plot": {"strength": [1.0], "share_kept": [0.5]}}),
        ("multimodal.gain_over_tower_x", name, {"details": {f"gain.{name}": 0.1, "lmm": 0.5, "tower": 0.4}}),
        ("multimodal.position_bias_x", "", {"plot": {"place": [1.0], "answers": [1.0], "truths": [1.0]}}),
        ("ood.auroc_mcm", "", {"plot": roc | scores}),
        ("prompts.spread_top1", name, {"details": {name: 0.5}}),
        ("retrieval.mean_rank_a_to_b", "", {"plot": {"first": [1.0], "last": [1.0], "share": [1.0]}}),
        ("retrieval.recall_at_1_a_to_b", name, {}),
        ("shape_bias.ratio_direct", "", {"details": {f"ratio.{name}": 0.5}}),
        ("shift.top1", "", {}),
        ("shift.relative_robustness", "", {}),
        ("typographic.top1", "", {}),
        ("visual_factors.accuracy_top", name, {}),
        ("word_order.accuracy", "", {"details": {"blind": 0.5}}),
    )
    made = []
    for place, (metric, subset, fields) in enumerate(gates):
        gate = {
            **changed(record(f"{metric}[x]", 0.6, model=name), 0.6),
            **fields,
            "dataset": name,
            "subset": subset,
            "measurement": f"{metric}[{name}/{subset}]",
            "test": f"test{place}[{name}]",
        }
        gate["change"]["plot"] = gate["plot"]
        made.append(gate)
    return made


def hostile_document(name, *more):
    """Return a run in which every name is `name`, with `more` gates."""
    gate = changed(
        record("zero_shot.top1[photos]", 0.6, model=name),
        0.7,
        verdict="regressed",
        flips=[flip(name, name, name)],
        misses=[miss(name, name, name)],
        measurement=f"zero_shot.top1[{name}]",
        dataset=name,
        subset=name,
        test=f"test[{name}]",
        remark=name,
        threshold_source=name,
        details={name: 0.5},
    )
    return document_of(
        [gate, record_error(name, model=name, measurement=name, test=name), *more],
        exit_status=1,
        reference=name,
        profile=name,
        notices=[name],
        not_applicable=[{"reason": name, "tests": 1}],
        models={name: {"weights": name, "notes": [name], "prompts": {name: name}, "card": {"family": name}}},
        data={name: {"fingerprint": name, "images": 1, "licence": name}},
    )
