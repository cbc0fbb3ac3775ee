import base64
import hashlib
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from vladata import images, pipeline
from vladata.finding import Finding, Report, Severity
from vladata.recording import Instruction
from vladata.report import html
from vladata.report._html_style import SCRIPT, STYLE
from vladata.report.html import write_html
from vladata.store.catalog import Entry
from vladata.store.dataset import Dataset, write_index
from vladata.testing.builders import build_episode

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>&amp;\x1b[2J\u202e"
TAGS = {
    "html", "head", "meta", "link", "title", "style", "body", "header", "h1", "h2", "h3", "bdi", "p", "nav", "a", "ul",
    "li", "b", "dl", "dt", "dd", "code", "div", "table", "thead", "tr", "th", "tbody", "td", "span", "section",
    "article", "figure", "figcaption", "img", "details", "summary", "footer", "script", "svg", "rect", "path", "text",
}  # fmt: skip
VOID = {"meta", "link", "img"}


class Page(HTMLParser):
    """Tags, attributes and text of a page, which must be balanced."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.words, self._open = [], [], [], []
        self.inside = {"script": [], "style": []}
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and self._open[-1] in self.inside:
            self.inside[self._open[-1]].append(data)
        else:
            self.words.append(data)

    def find(self, tag, **attributes):
        return [a for t, a in self.tags if t == tag and all(a.get(k) == v for k, v in attributes.items())]

    @property
    def text(self):
        return " ".join("".join(self.words).split())


def spike(values):
    values = values.copy()
    values[150, 1] = 2.6
    return values


def black(frames):
    dark = images.encode_jpeg(np.zeros((48, 64, 3), np.uint8))
    return [dark if 20 <= i < 30 else f for i, f in enumerate(frames)]


@pytest.fixture(scope="module")
def faulty(put, tmp_path_factory):
    """Three episodes: a value beyond its limit, black frames, and texts that mean harm."""
    episodes = [
        build_episode(duration_s=4.0, values={"arm": spike}, place="a"),
        build_episode(duration_s=4.0, frames={"front": black}, seed=1, place="b"),
        build_episode(duration_s=4.0, seed=2, place=EVIL, instructions=(Instruction(text=EVIL),)),
    ]
    dataset = put(tmp_path_factory.mktemp("faulty") / "arms", episodes)
    return dataset, pipeline.validate(dataset, num_workers=0)


def made(report, dataset, path, **options):
    options.setdefault("num_workers", 0)
    write_html(report, dataset, path, **options)
    return path.read_text(encoding="utf-8")


def of(dataset, place):
    return next(e.episode_id for e in dataset.entries if e.place == place)


def finding(dataset, place, **more):
    more.setdefault("message", "something is wrong")
    return Finding(check=more.pop("check", "acme.rule"), episode_id=of(dataset, place), **more)


def report_of(dataset, *findings, **more):
    return Report(
        findings=findings,
        episodes={e.episode_id: e.content_digest for e in dataset.entries},
        checks=more.pop("checks", ("acme.rule", "values.limits")),
        **more,
    )


def everything(dataset):
    """A finding for whatever can be shown, of texts that mean harm."""
    places = ["/streams/arm/values", "/streams/arm/time_ns", "/streams/front/frames", "/streams/front/time_ns"]
    places += [
        "/steps/time_ns",
        "/steps/action/command",
        "/steps/age_ns/arm",
        "/steps/valid/arm",
        "/steps/images/front",
    ]
    places += ["/steps/images/front", "/instructions", f"/streams/{EVIL}/values", EVIL]
    found = [
        finding(dataset, EVIL, check=f"acme.rule_{k}", location=where, steps=(5, 8), message=EVIL, magnitude=float(k))
        for k, where in enumerate(places)
    ]
    others = tuple(e.episode_id for e in dataset.entries)
    found.append(Finding(check="acme.all", message=EVIL, others=others, location="/streams/front/frames"))
    found.append(finding(dataset, "a", dimensions=(EVIL,), traceback=EVIL, location="/streams/arm/values"))
    return found


def test_nothing_is_fetched_and_nothing_runs_but_the_one_script(faulty, tmp_path):
    dataset, report = faulty
    evil = report_of(dataset, *report.findings, *everything(dataset), thresholds={EVIL: {EVIL: EVIL}})
    text = made(evil, dataset, tmp_path / "page.html")
    page = Page(text)
    assert {tag for tag, _ in page.tags} <= TAGS
    for tag, name, value in page.attributes:
        assert not name.startswith("on")
        assert name not in {"style", "srcset", "action", "data", "ping", "background"}
        if name in {"href", "src"}:
            assert value.startswith({"img": "data:image/jpeg;base64,", "link": "data:,", "a": "#"}[tag])
        if not (value or "").startswith("data:") and name != "alt":
            assert "//" not in (value or "")
    assert page.inside == {"script": [SCRIPT], "style": [STYLE]}
    assert not re.search(r"url\(|@import|https?:|//", STYLE + SCRIPT)
    assert not re.search(r"innerHTML|insertAdjacent|document\.write|eval|fetch|XMLHttp", SCRIPT)
    (policy,) = page.find("meta", **{"http-equiv": "Content-Security-Policy"})
    digests = [base64.b64encode(hashlib.sha256(t.encode()).digest()).decode() for t in (STYLE, SCRIPT)]
    assert policy["content"] == (
        f"default-src 'none'; style-src 'sha256-{digests[0]}'; script-src 'sha256-{digests[1]}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def test_text_out_of_recordings_stays_text(faulty, tmp_path):
    dataset, _ = faulty
    text = made(report_of(dataset, *everything(dataset)), dataset, tmp_path / "page.html")
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)
    page = Page(text)
    assert "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>&amp;" in page.text
    assert len(page.find("script")) == 1


def test_links_lead_to_what_is_there(faulty, tmp_path):
    dataset, report = faulty
    found = report_of(dataset, *report.findings, *everything(dataset))
    page = Page(made(found, dataset, tmp_path / "page.html"))
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    targets = {value[1:] for tag, name, value in page.attributes if (tag, name) == ("a", "href")}
    assert targets <= set(ids)
    assert {f"e{k}" for k in range(3)} < targets


def test_the_page_says_what_was_judged(faulty, tmp_path):
    dataset, report = faulty
    known = Finding(message="old", check="values.limits", episode_id=of(dataset, "a"), is_known=True)
    full = Report(
        findings=(*report.findings, known),
        episodes=report.episodes,
        checks=report.checks,
        thresholds={"timing.gaps": {"periods": 2.0}},
    )
    text = made(full, dataset, tmp_path / "page.html")
    words = Page(text).text
    assert "Validation of arms" in words
    assert dataset.digest in words
    assert "timing.gaps.periods = 2" in words
    assert "1 finding is known by it and not counted here" in words
    assert "Nothing found by" in words
    assert str(dataset.path) not in text
    assert str(tmp_path) not in text
    for found in report.findings:
        if found.episode_id != of(dataset, EVIL):
            assert found.message in words


def test_equal_reports_give_equal_bytes_whatever_the_workers(faulty, tmp_path):
    dataset, report = faulty
    first = made(report, dataset, tmp_path / "a.html", num_workers=0)
    assert made(report, dataset, tmp_path / "b.html", num_workers=2) == first


def test_a_curve_has_a_point_for_each_sample_around_the_place(faulty, tmp_path):
    dataset, _ = faulty
    found = finding(dataset, "a", location="/streams/arm/values", steps=(13, 14), dimensions=("joint_1",))
    page = Page(made(report_of(dataset, found), dataset, tmp_path / "page.html"))
    (line,) = page.find("path", **{"class": "line"})
    # 100 Hz from -0.1 s on, a step period before the first; the place is 1.3 to 1.4 s, and 1.5 s on either side.
    assert line["d"].count("M") + line["d"].count("L") == 301
    shade = page.find("rect", **{"class": "shade"})
    assert len(shade) == 1
    assert "joint_1 [rad]" in page.text
    assert "limits -2 to 2 rad" in page.text
    assert "seconds from the first step" in page.text
    highest = min(float(y) for y in re.findall(r"[ML]\S+ (\S+)", re.sub(r"([ML])", r" \1", line["d"])))
    limit = page.find("path", **{"class": "limit"})
    assert highest < min(float(p["d"].split()[1].partition("h")[0]) for p in limit)


def test_frames_come_as_small_pictures(faulty, tmp_path):
    dataset, _ = faulty
    found = finding(dataset, "b", location="/streams/front/frames", frames=(20, 29, 5000))
    page = Page(made(report_of(dataset, found), dataset, tmp_path / "page.html"))
    pictures = page.find("img")
    assert [p["alt"] for p in pictures] == ["front, frame 20, 0.47 s", "front, frame 29, 0.77 s"]
    for picture in pictures:
        data = base64.b64decode(picture["src"].partition(",")[2])
        assert images.decode(data).shape == (48, 64, 3)
        assert images.decode(data).max() < 10
    assert "frame 5,000: frame 5000 of front; there are" in page.text


def test_a_dataset_finding_about_a_camera_shows_each_episode(faulty, tmp_path):
    dataset, _ = faulty
    others = (of(dataset, "a"), of(dataset, "b"))
    alone = Finding(message="exchanged", check="acme.rule", others=others, location="/streams/front/frames")
    odd = finding(dataset, EVIL, location="/streams/front/frames", frames=(3,), others=others)
    captions = [p["alt"] for p in Page(made(report_of(dataset, alone), dataset, tmp_path / "a.html")).find("img")]
    assert [c.partition(": front")[0] for c in captions] == ["a", "b"]
    captions = [p["alt"] for p in Page(made(report_of(dataset, odd), dataset, tmp_path / "b.html")).find("img")]
    assert captions[0].startswith("front, frame 3")
    assert captions[1].startswith("for comparison, a")
    assert len(captions) == 2


def test_an_episode_that_can_not_be_read_has_no_picture_and_says_so(put, tmp_path):
    dataset = put(tmp_path / "arms", [build_episode(place="a"), build_episode(place="b", seed=1)])
    lost = next(e for e in dataset.entries if e.place == "a")
    (dataset.path / lost.file).write_bytes(b"\x89HDF\r\n\x1a\n" + b"?" * 100)
    found = [finding(dataset, p, location="/streams/arm/values") for p in "ab"]
    for workers in (0, 1):
        text = made(report_of(dataset, *found), dataset, tmp_path / "page.html", num_workers=workers)
        assert Page(text).text.count("nothing to show: ") == 1
        assert text.count('<svg class="plot" role="img" viewBox="0 0 720') == 2  # a curve and the strip
        assert str(tmp_path) not in text


def test_without_findings_the_page_says_so(faulty, tmp_path):
    dataset, _ = faulty
    page = Page(made(report_of(dataset), dataset, tmp_path / "page.html"))
    assert "No errors and no warnings in 3 episodes." in page.text
    assert page.find("article") == []


def test_the_page_appears_whole_or_not_at_all(faulty, tmp_path):
    dataset, report = faulty
    path = tmp_path / "page.html"
    path.write_text("before")

    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_html(report, dataset, path, num_workers=0, progress=stop)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_progress_counts_episodes_that_are_read(faulty, tmp_path):
    dataset, report = faulty
    told = []
    write_html(report, dataset, tmp_path / "page.html", num_workers=0, progress=lambda *words: told.append(words))
    assert told
    assert [d for d, _, _ in told] == list(range(1, told[-1][1] + 1))


def test_one_bad_episode_does_not_hide_the_others(faulty, tmp_path):
    dataset, _ = faulty
    bad = [finding(dataset, "a", magnitude=10.0 + k, message=f"a {k}") for k in range(20)]
    page = Page(made(report_of(dataset, *bad, finding(dataset, "b", magnitude=1.0)), dataset, tmp_path / "page.html"))
    cards = page.find("article")
    assert len(cards) == 3
    assert page.text.index("a 19") < page.text.index("something is wrong") < page.text.index("18 more findings")


def index_of(folder, count):
    """A dataset whose episodes are only in its catalog."""
    folder.mkdir()
    entries = [
        Entry(
            episode_id=f"{k:032x}", recording_id=f"{k:064x}", content_digest=f"{k:064x}", embodiment="test_arm",
            embodiment_digest="d" * 64, source="testing", place=f"train#{k:06d}", split="", num_steps=100 + k % 7,
            duration_s=10.0 + k % 5, num_bytes=1, instruction=f"put the cube into bin {k % 40}", outcome="success",
            num_invalid=0, file=f"episodes/{k:032x}.h5", sha256="a" * 64,
        )
        for k in range(count)
    ]  # fmt: skip
    write_index(folder, entries)
    return Dataset.open(folder)


def test_the_page_of_a_large_dataset_stays_small(tmp_path):
    dataset = index_of(tmp_path / "many", 3000)
    words = "arm.joint_1 is 3 rad; the schema allows -1 to 1 rad, and 7 of 100 samples are outside " * 4
    checks = tuple(f"topic.rule_{k:02d}" for k in range(40))
    findings = [
        Finding(message=words, check=checks[(i + k) % 40], severity=list(Severity)[i % 3], episode_id=e.episode_id)
        for i, e in enumerate(dataset.entries)
        for k in range(4)
    ]
    text = made(report_of(dataset, *findings, checks=checks), dataset, tmp_path / "page.html")
    assert len(text) < 2_500_000
    page = Page(text)
    assert len(page.find("article")) == html.MAX_EVIDENCE
    assert "1,000 more are not in this table; the JSON report has all; 1,000 episodes without errors and" in page.text
    assert "<b>4,000</b>errors" in text


def test_evidence_stops_at_the_size_of_a_page(faulty, tmp_path, monkeypatch):
    dataset, _ = faulty
    monkeypatch.setattr(html, "MAX_EVIDENCE_BYTES", 9_000)
    found = [finding(dataset, p, location="/streams/arm/values", dimensions=("joint_1",)) for p in "ab"]
    text = made(report_of(dataset, *found), dataset, tmp_path / "page.html")
    assert text.count('<path class="line"') == 1
    assert "not shown: the page would become too large" in text
