import json
import re
from html.parser import HTMLParser

import pytest

from commutes.errors import ArtefactError
from commutes.report.html import html

SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"><rect id="a" width="1" height="1"/></svg>'
HOSTILE = "</script><img src=x onerror=alert(1)>\"'\u202e{{ 7 * 7 }}"


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.data: list[float] = []
        self.block = ""
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "data":
            self.data.append(float(dict(attrs)["value"] or "nan"))

    def handle_data(self, data):
        if self._inside == "script":
            self.block += data

    def handle_endtag(self, tag):
        self._inside = ""


def everywhere(value, text):
    fixed = {"status", "answer", "level", "sought", "verdict", "method", "id"}
    if isinstance(value, dict):
        return {k: v if k in fixed else everywhere(v, text) for k, v in value.items()}
    if isinstance(value, list):
        return [everywhere(item, text) for item in value]
    return text if isinstance(value, str) else value


def test_the_page_asks_for_nothing_and_runs_nothing(report):
    page = Page(html(report, figures={"heat_map": SVG, "algorithm": SVG}))
    for tag, attributes in page.tags:
        assert not {"src", "href", "action", "data", "srcset"} & set(attributes)
        assert not any(key.startswith("on") for key in attributes)
        assert tag not in ("link", "iframe", "object", "embed", "img", "base", "form")
    policy = [a["content"] for t, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"]
    assert [a["type"] for t, a in page.tags if t == "script"] == ["application/json"]


def test_the_record_stands_in_the_page_whole(report):
    assert json.loads(Page(html(report)).block) == json.loads(json.dumps(report))


def test_hostile_text_in_every_field_stays_text(report):
    clean, hostile = Page(html(everywhere(report, "word"))), html(everywhere(report, HOSTILE))
    page = Page(hostile)
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in clean.tags]
    assert "49" not in re.findall(r"<h1>(.*?)</h1>", hostile)[0]
    assert "\u202e" not in hostile
    assert json.loads(page.block)["headline"] == HOSTILE


def test_every_rate_on_the_page_is_one_of_the_record(report):
    def rates(value):
        if isinstance(value, dict):
            yield from [value["rate"]] if isinstance(value.get("rate"), float) else []
            for item in value.values():
                yield from rates(item)
        elif isinstance(value, list):
            for item in value:
                yield from rates(item)

    known = set(rates(report["evaluation"]))
    shown = Page(html(report)).data
    assert set(shown) <= known
    cells = [cell["rate"]["rate"] for cell in report["evaluation"]["cells"] if cell["rate"]]
    assert set(cells) <= set(shown)


def test_every_check_and_its_answer_is_there(build_report):
    page = html(build_report({"A2": "refuted"}))
    for check in build_report()["checks"]:
        assert f"<b>{check['id']}</b><span>{check['name']}</span>" in page
    assert page.count('<span class="answer not-run">not run</span>') == 32
    assert "<details open>" in page


def test_both_schemes_and_every_section(report):
    page = html(report, figures={"heat_map": SVG})
    assert 'name="color-scheme" content="light dark"' in page
    assert "prefers-color-scheme: dark" in page
    for section in ("claim", "iia", "figures", "checks", "provenance"):
        assert f'id="{section}"' in page
    assert 'id="figures"' not in html(report)


def test_the_same_record_gives_the_same_page_and_a_small_one(report):
    assert html(report) == html(report)
    assert len(html(report)) < 200_000


def test_a_figure_is_cleaned():
    from commutes.report._svg import inline_svg

    bad = (
        '<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" '
        'xmlns:xlink="http://www.w3.org/1999/xlink" '
        'onload="x()"><style>*{fill:red}</style><script>x()</script><foreignObject><b/></foreignObject>'
        '<g id="g"><use xlink:href="#g"/><use xlink:href="http://x/y"/><image href="http://x/z.png"/>'
        '<rect clip-path="url(#g)" fill="url(http://x)" style="fill: url(&quot;//x&quot;)"/>'
        "<text>t &lt;b&gt;</text>"
        "</g></svg>"
    )
    good = inline_svg(bad, name="f0")
    for word in ("script", "style", "foreign", "image", "onload", "http://x"):
        assert word not in good
    assert 'id="f0-g"' in good
    assert 'href="#f0-g"' in good
    assert 'clip-path="url(#f0-g)"' in good
    assert "t &lt;b&gt;" in good


def test_two_figures_do_not_share_ids(report):
    page = html(report, figures={"heat_map": SVG, "other": SVG})
    assert 'id="f0-a"' in page
    assert 'id="f1-a"' in page


@pytest.mark.parametrize(
    "text", ["not svg", "<html></html>", '<!DOCTYPE svg [<!ENTITY a "b">]><svg>&a;</svg>', "<svg></svg>"]
)
def test_what_is_no_svg_is_refused(report, text):
    with pytest.raises(ArtefactError, match="a figure of the report is not SVG"):
        html(report, figures={"heat_map": text})


def test_the_figures_of_the_package_can_stand_in_the_page(report, build_selection, tmp_path):
    from commutes.report.figures import heat_map

    heat_map(build_selection(3, 4), None, tmp_path / "a.svg")
    page = html(report, figures={"heat_map": (tmp_path / "a.svg").read_text(encoding="utf-8")})
    assert ">.830</text>" in page
    assert "<!DOCTYPE svg" not in page


def test_candidates_stand_on_the_page(report, candidates):
    words = "by argmax over the 10 candidate answers"
    assert words not in html(report)
    report["evaluation"]["candidates"] = candidates
    assert words in html(report)
