import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from commutes.report._text import clean, pad, share, table, width_of, wrap


@given(st.text())
def test_what_is_cleaned_steers_nothing(text):
    shown = clean(text)
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in shown)
    assert clean(shown) == shown


def test_marks_are_shown_and_not_dropped():
    assert clean("a\u202eb\x07\n") == "a\\u202eb\\x07\\x0a"
    assert clean("left[/] 語") == "left[/] 語"


@given(st.text(max_size=60), st.integers(2, 30))
def test_wrapped_lines_fit_and_lose_no_letter(text, columns):
    text = clean(text)
    lines = wrap(text, columns)
    assert all(width_of(line) <= columns for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())


def test_an_interval_stays_on_one_line():
    assert wrap("rate .953 [.941, .963], n = 1,200", 14) == ["rate .953", "[.941, .963],", "n = 1,200"]


@given(st.floats(0, 1))
def test_a_share_reads_back_as_itself(value):
    shown = share(value)
    if shown.startswith(">"):
        assert 0.999 < value < 1
    elif shown.startswith("<"):
        assert 0 < value < 0.001
    else:
        assert abs(float(shown) - value) <= 0.0005 + 1e-12
    assert (shown == "1.000") == (value == 1)
    assert (shown == ".000") == (value == 0)


@given(st.lists(st.lists(st.text(max_size=12).map(clean), min_size=3, max_size=3), min_size=1, max_size=5))
def test_a_table_keeps_its_columns(rows):
    lines = table(rows, limits={0: 6, 1: 6, 2: 6})
    assert all(width_of(line) <= 22 for line in lines)


def test_padding_counts_columns_and_not_characters():
    assert pad("語", 4) == "語  "
    assert pad("1", 3, right=True) == "  1"
