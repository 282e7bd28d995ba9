"""Names that try to be more than text, and a report in which every name is one of them."""

from __future__ import annotations

from handmade_reports import changed, document_of, flip, miss, record

from pytest_clip_robust.gates.record import record_error

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


def hostile_document(name):
    """Return a run in which every name is `name`."""
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
        [gate, record_error(name, model=name, measurement=name, test=name)],
        exit_status=1,
        reference=name,
        profile=name,
        notices=[name],
        not_applicable=[{"reason": name, "tests": 1}],
        models={name: {"weights": name, "notes": [name], "prompts": {name: name}, "card": {"family": name}}},
        data={name: {"fingerprint": name, "images": 1, "licence": name}},
    )
