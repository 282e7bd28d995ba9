"""index.html: verdict first, every number of every gate, accessible, and nothing loaded from elsewhere."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from handmade_reports import MEAN, NLL, TOP1, changed, document_of, flip, miss, record

from pytest_clip_robust.gates.record import record_error
from pytest_clip_robust.report.document import read_report, write_document
from pytest_clip_robust.report.html.aspects.corruption import corruption_shots
from pytest_clip_robust.report.html.page import MOST_PLOTTED, build_page
from pytest_clip_robust.report.html.pictures import PAGE_LIMIT, SIDE, VIEW_SIDE, Picture, Shot
from pytest_clip_robust.report.html.render import TEMPLATES, render_page, write_page
from pytest_clip_robust.report.html.samples import MOST_DETAILS
from pytest_clip_robust.report.html.wanted import wanted_pictures

VOID = {"meta", "br", "img", "input", "wbr"}


class Outline(HTMLParser):
    """The elements of a page, and whether every one that was opened was closed."""

    def __init__(self, page):
        super().__init__()
        self.open, self.elements, self.text = [], [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def records():
    return [
        changed(
            record(TOP1, 0.61, model="new"),
            0.71,
            verdict="regressed",
            p=0.004,
            flips=[flip("row 7: cup_007.webp")],
            misses=[miss("row 9: cup_009.webp", predicted="lamp")],
            place=1,
        ),
        changed(record(MEAN, 0.6543, model="new"), 0.65, place=2),
        changed(record(NLL, 1.5, model="new"), 1.4, verdict="inconclusive", place=3, headline=False),
        record_error("no weights\nsecond line", model="new", measurement="test_broken", test="test_broken"),
    ]


@pytest.fixture(scope="module")
def document(records):
    return document_of(
        records,
        exit_status=1,
        reference="parent",
        notices=["encoded 12 images"],
        not_applicable=[{"reason": "new has no text tower", "tests": 3}],
        models={
            "new": {"weights": "0123456789abcdef", "notes": ["a note"], "card": {"family": "ViT", "parameters": 7}}
        },
        data={"photos": {"fingerprint": "feedfacefeedface", "images": 100, "licence": "CC0"}},
    )


@pytest.fixture(scope="module")
def page(document):
    return render_page(document)


@pytest.fixture(scope="module")
def outline(page):
    return Outline(page)


def test_every_element_is_closed_and_every_id_is_there_once(outline):
    assert outline.open == []
    ids = [attributes["id"] for _, attributes in outline.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {one["href"].removeprefix("#") for one in outline.all("a") if one["href"].startswith("#")}
    assert links <= set(ids)


def test_the_page_loads_nothing_and_runs_only_its_own_script(page, outline):
    assert not re.search(r"(src|href|action)\s*=\s*[\"']?(https?:|//)", page)
    assert not re.search(r"@import|url\((?!#)", page)
    (policy,) = (one["content"] for one in outline.all("meta") if one.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    assert "script-src 'sha256-" in policy
    assert len(outline.all("script")) == 1


def test_the_verdict_comes_first(page):
    assert page.index("<h1") < page.index("<h2")
    assert re.search(r"<h1 class=\"result\"[^>]*>Not ready</h1>\s*<p class=\"reasons\">1 of 2 aspects got worse", page)
    assert "<title>CLIP robustness: new: not ready</title>" in page


def test_the_table_has_every_number_of_every_gate(page, records):
    table = page[page.index('<table class="all">') :]
    for one in records:
        assert f"<dt>test</dt><dd>{one['test']}</dd>" in table
    text = re.sub(r"<[^>]+>", " ", table)
    for shown in (
        "0.610",
        "0.570 to 0.650",
        "\N{MINUS SIGN}0.100",
        "0.004",
        "0.710",
        "Student t",
        "McNemar, mid-p",
        "100",
    ):
        assert shown in text
    assert table.count("<tr id=") == 4


def test_what_was_not_measured_has_its_message(page):
    assert "Not measured" in page
    assert "no weights<br>second line" in page


def test_samples_that_got_worse_are_listed_with_both_answers(page):
    text = " ".join(re.sub(r"<[^>]+>", " ", page.replace("<wbr>", "")).split())
    assert "1 sample became wrong; 1 confident miss" in text
    assert "row 7: cup_007.webp cup cup 0.900 box 0.100" in text
    assert "row 9: cup_009.webp cup lamp 0.800" in text


def test_the_run_is_described(page):
    text = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    for words in (
        "3 tests : new has no text tower",
        "encoded 12 images",
        "feedfacefeed",
        "CC0",
        "0123456789abcdef",
        "a note",
    ):
        assert words.replace(" :", ":") in text.replace(" :", ":")


def test_tables_name_their_columns_and_rows(outline):
    assert {one.get("scope") for one in outline.all("th")} == {"col", "row"}
    tags = {tag for tag, _ in outline.elements}
    assert {"main", "nav", "header", "h1", "h2", "caption"} <= tags
    assert outline.all("html")[0]["lang"] == "en"
    scrolled = [one for one in outline.all("div") if one.get("class") == "wide"]
    assert all(one["tabindex"] == "0" and one["aria-label"] for one in scrolled)
    drawings = [one for one in outline.all("svg") if not one.get("class", "").startswith("now")]
    assert all(one.get("aria-hidden") == "true" or one.get("role") == "img" for one in drawings)


def test_no_level_of_headings_is_left_out(outline):
    levels = [int(tag[1]) for tag, _ in outline.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_a_saved_run_gives_the_same_page(document, page, tmp_path):
    write_document(document, tmp_path / "report.json")
    assert render_page(read_report(tmp_path / "report.json")) == page


def test_a_run_without_gates_and_one_without_comparisons_have_a_page():
    assert "No gate was judged" in render_page(document_of([], exit_status=5))
    page = render_page(document_of([record(TOP1, 0.6, model="m")], exit_status=0))
    assert "Not judged" in page
    assert "adj. p" not in page


def test_p_values_that_are_not_adjusted_are_not_called_so(records):
    plain = [{**one, "change": {**one["change"], "p_adjusted": None}} for one in records[:2]]
    assert "adj. p" not in render_page(document_of(plain, exit_status=1))
    assert '<th scope="col" class="n">adj. p</th>' in render_page(document_of(records[:2], exit_status=1))


def test_models_have_a_part_each_and_a_column():
    both = [changed(record(TOP1, 0.6, model="a"), 0.6), changed(record(MEAN, 0.5, model="b"), 0.4, verdict="improved")]
    page = render_page(document_of(both, exit_status=0))
    assert page.count("<article") == 2
    assert page.count("<h1") == 1
    assert page.index("<h1>2 models: 2 ready</h1>") < page.index("<article")
    assert '<option value="2">b</option>' in page
    assert '<th scope="col">model</th>' in page


def test_a_run_of_many_models_and_gates_leaves_out_what_is_least_urgent_and_says_so(monkeypatch):
    monkeypatch.setattr("pytest_clip_robust.report.html.page.MOST_LINES", 40)
    monkeypatch.setattr("pytest_clip_robust.report.html.page.MOST_DETAILED", 10)
    records = [changed(record(f"zero_shot.m{i}[x]", 0.5, model=f"m{i % 6}"), 0.5, headline=i < 6) for i in range(60)]
    lost = changed(record("zero_shot.lost[x]", 0.5, model="m5"), 0.9, verdict="regressed")
    document = document_of([*records, lost], exit_status=1)
    page = build_page(document)
    assert [bool(part.aspects[0].panels) for part in page.models] == [True] * MOST_PLOTTED + [False] * 2
    assert page.gates[0].record["measurement"] == "zero_shot.lost[x]"
    assert (len(page.gates), page.left_out) == (40, 21)
    assert sum(line.detailed for line in page.gates) == 10
    written = render_page(document)
    assert "6 models: 5 ready, 1 not ready" in written
    assert "21 gates with the least urgent verdicts left out" in written
    assert "The first 4 models have plots" in written
    outline = Outline(written)
    ids = {attributes["id"] for _, attributes in outline.elements if "id" in attributes}
    assert {one["href"][1:] for one in outline.all("a")} <= ids


def test_headlines_and_details_that_fail_speak_for_an_aspect():
    details = [
        changed(record(f"zero_shot.d{i}[x]", 0.5, model="m"), 0.6, verdict="regressed", headline=False)
        for i in range(5)
    ]
    quiet = changed(record("zero_shot.quiet[x]", 0.5, model="m"), 0.5, headline=False)
    headline = changed(record(TOP1, 0.5, model="m"), 0.5)
    (model,) = build_page(document_of([headline, quiet, *details], exit_status=1)).models
    (aspect,) = model.aspects
    names = [row.label for row, _ in aspect.speakers]
    assert names[0] == TOP1
    assert len(names) == 1 + MOST_DETAILS
    assert "zero_shot.quiet[x]" not in names
    assert aspect.verdict == "regressed"


def test_pictures_are_shown_where_there_are_some(document):
    page = render_page(document, {Shot("photos", "row 7: cup_007.webp"): Picture(b"RIFF", 96, 72)})
    assert page.count('<symbol id="picture-1" viewBox="0 0 96 72"><image href="data:image/webp;base64,UklGRg=="') == 1
    assert 'aria-label="row 7: cup_007.webp"><use href="#picture-1"/>' in page
    assert page.count("no picture") == 1


def test_pictures_are_left_out_before_the_page_gets_too_long(document):
    names = ("row 7: cup_007.webp", "row 9: cup_009.webp")
    for size, kept in ((400_000, 2), (710_000, 1), (1_000_000, 1), (1_500_000, 0)):
        large = {Shot("photos", name): Picture(name[:5].encode() * (size // 5), 96, 72) for name in names}
        page = render_page(document, large)
        assert page.count('<symbol id="picture-') == kept
        assert len(page.encode()) < PAGE_LIMIT


def test_headline_gates_want_twelve_pictures_each_and_the_most_urgent_come_first(records):
    flips = [flip(f"f{i}") for i in range(10)]
    misses = [miss(f"m{i}") for i in range(10)]
    passed = changed(record(MEAN, 0.6, model="new"), 0.6, misses=misses)
    lost = changed(record(TOP1, 0.6, model="new"), 0.7, verdict="regressed", flips=flips, misses=misses)
    detail = changed(record("zero_shot.d[x]", 0.6, model="new"), 0.6, misses=misses, headline=False)
    found = wanted_pictures([passed, lost, detail])
    names = [shot.sample for shot in found]
    lost_first = [*(f"f{i}" for i in range(6)), *(f"m{i}" for i in range(6))]
    assert names == [*lost_first, *(f"m{i}" for i in range(6, 10))]
    assert {shot.corruption for shot in found} == {""}
    assert wanted_pictures([records[-1]]) == {}


def test_corrupted_samples_want_the_picture_of_the_corrupted_image_and_the_worst_kinds_one_image_each():
    records = [
        changed(record(f"corruption.top1[x/{kind}/{severity}]", 0.9 - 0.1 * severity - drop, model="m"), 0.6,
                headline=kind == "fog" and severity == 1,
                misses=[miss(f"{kind} {severity}")])
        for kind, drop in (("jpeg", 0.0), ("fog", 0.2))
        for severity in (1, 3)
    ]  # fmt: skip
    clean = Shot("x", "fog 3")
    charts = [clean._replace(corruption=name) for name in ("", "fog/1", "fog/3", "jpeg/1", "jpeg/3")]
    assert list(wanted_pictures(records)) == [*charts, Shot("x", "fog 1", "fog/1")]
    page = render_page(document_of(records, exit_status=0), dict.fromkeys(charts, Picture(b"RIFF", 96, 72)))
    assert 'aria-label="fog 3 under fog at severity 3"' in page
    assert 'aria-label="fog 3 as it is"' in page


def test_equally_bad_kinds_have_the_same_order_in_every_order_of_gates():
    records = [
        changed(record(f"corruption.top1[x/kind{i}/1]", 0.5, model="m"), 0.6, misses=[miss("a.png")]) for i in range(9)
    ]
    assert corruption_shots(records) == corruption_shots(records[::-1])


def matched(records):
    pair = {
        "images": ["a.png", "b.png"],
        "share": 0.25,
        "places": [[0.5, 0.25, 0.0, 1.0]] * 4,
        "right": [True, False] * 2,
    }
    recall = record("correspondence.recall_2cm[views]", 0.5, model="m")
    return [{**recall, "pairs": [pair, {**pair, "images": ["c.png", "d.png"]}]}, *records]


def test_matches_are_lines_between_two_pictures_and_wanted_larger(records):
    with_pairs = matched(records)
    found = wanted_pictures(with_pairs)
    assert [shot.sample for shot, side in found.items() if side == VIEW_SIDE] == ["a.png", "b.png", "c.png", "d.png"]
    assert set(found.values()) == {SIDE, VIEW_SIDE}
    pictures = {Shot("views", "a.png"): Picture(b"1", 100, 50), Shot("views", "b.png"): Picture(b"2", 50, 100)}
    page = render_page(document_of(with_pairs, exit_status=1), pictures)
    outline = Outline(page)
    assert "Matches between a.png and b.png" in page
    # The middle of the first picture, at 160 x 80 pixels, and of a square without a picture.
    first, second = (
        [one for one in outline.all("line") if (one.get("x1"), one.get("y1")) == start]
        for start in (("80", "20"), ("80", "40"))
    )
    assert len(first) == 4
    assert {(one["x2"], one["y2"]) for one in first} == {("172", "160")}
    assert len(second) == 4
    assert page.count('class="match right"') == page.count('class="match wrong"') == 4
    assert page.count('class="missing"') == 2
    assert "most right matches, 25%: a.png and b.png" in page


def test_an_aspect_without_headlines_shows_the_samples_of_its_most_urgent_details():
    details = [
        changed(record(f"zero_shot.d{i}[x]", 0.5, model="m"), 0.5 + i / 100, misses=[miss(f"m{i}")], headline=False)
        for i in range(MOST_DETAILS + 2)
    ]
    assert [shot.sample for shot in wanted_pictures(details)] == ["m4", "m3", "m2"]
    (model,) = build_page(document_of(details, exit_status=0)).models
    assert len(model.aspects[0].samples) == MOST_DETAILS


def test_a_page_of_many_gates_stays_below_two_megabytes():
    many = [
        changed(record(f"zero_shot.metric_{i}[photos/part_{i}]", i / 1000, model="m"), 0.5, headline=i < 30, place=i)
        for i in range(600)
    ]
    assert len(render_page(document_of(many, exit_status=0)).encode()) < 2_000_000


def test_a_folder_that_cannot_be_written_is_one_line(document, tmp_path):
    from pytest_clip_robust.errors import ReportError

    (tmp_path / "out").write_text("a file")
    with pytest.raises(ReportError, match=r"^--clip-report \S+out: cannot write index\.html: "):
        write_page(document, tmp_path / "out" / "index.html")


def themes():
    """Return the colours of every theme, by name: light, dark by the system, dark by the switch, and print."""
    css = (TEMPLATES / "page.css").read_text()
    return [dict(re.findall(r"(--\w+): (#\w{6})", block)) for block in re.findall(r"\{\s*(--page[^}]*)\}", css)]


def luminance(colour):
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("theme", themes())
def test_texts_have_the_contrast_that_wcag_demands(theme):
    assert len(themes()) == 4
    for ground in ("--paper", "--page"):
        for text in ("--ink", "--soft", "--accent", "--bad", "--warn", "--good", "--better", "--before"):
            dark, light = sorted((luminance(theme[ground]), luminance(theme[text])))
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (ground, text)


def test_a_wheel_has_the_templates():
    wheel = pytest.importorskip("hatchling.builders.wheel")
    root = TEMPLATES.parents[3]
    included = {one.relative_path for one in wheel.WheelBuilder(str(root)).recurse_included_files()}
    for path in (*TEMPLATES.iterdir(), TEMPLATES.parents[1] / "report.schema.json"):
        assert str(path.relative_to(root)) in included
