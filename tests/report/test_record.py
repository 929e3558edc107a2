import copy
import enum
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commutes.errors import ArtefactError
from commutes.report import (
    as_evaluation,
    as_report,
    content_hash,
    dump,
    dumps,
    load_evaluation,
    load_report,
    plain,
    sha256_of,
)


def test_record_to_json_to_record_changes_nothing(report, tmp_path):
    dump(report, tmp_path / "a.json")
    loaded = load_report(tmp_path / "a.json")
    assert loaded == as_report(report)
    assert plain(loaded) == json.loads(json.dumps(report))
    assert dumps(loaded) == dumps(as_report(report))


def test_the_evaluation_alone_round_trips(evaluation, tmp_path):
    dump(evaluation, tmp_path / "a.json")
    assert load_evaluation(tmp_path / "a.json") == as_evaluation(evaluation)


def test_dump_returns_the_digest_of_the_file(report, tmp_path):
    assert dump(report, tmp_path / "a.json") == sha256_of(tmp_path / "a.json")


def test_a_record_is_frozen(report):
    with pytest.raises(ValueError, match="frozen"):
        as_report(report).level = "R5"  # type: ignore[misc]


def test_missing_values_become_null():
    assert plain([math.nan, math.inf, -math.inf, np.float64("nan")]) == [None] * 4
    assert "NaN" not in dumps({"a": math.nan})


def test_numpy_enums_and_paths_become_plain(tmp_path):
    class Answer(enum.StrEnum):
        YES = "supported"

    got = plain(
        {"a": np.int64(3), "b": np.array([[1, 2]]), "c": Answer.YES, "d": tmp_path, "e": np.bool_(True)}
    )
    assert got == {"a": 3, "b": [[1, 2]], "c": "supported", "d": str(tmp_path), "e": True}
    assert type(got["c"]) is str


def test_an_object_is_refused_rather_than_written_as_its_repr():
    with pytest.raises(ArtefactError, match="a record holds plain values only"):
        plain({"a": object()})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(json_values)
def test_what_json_holds_survives(value):
    assert json.loads(dumps(value)) == plain(value) == value


def test_a_lone_surrogate_can_be_written(tmp_path):
    assert json.loads(dumps("a\udc80")) == "a\\udc80"


def damaged(report, tmp_path, **changes):
    path = tmp_path / "report.json"
    path.write_text(dumps(report | changes))
    with pytest.raises(ArtefactError) as caught:
        load_report(path)
    return str(caught.value)


def test_an_unknown_key_names_the_nearest(report, tmp_path):
    message = damaged(report, tmp_path, levl="R2")
    assert message == (
        "the record is not a report as commutes 0.1.0 writes it\n"
        f"  where:    {tmp_path / 'report.json'}, levl\n"
        "  got:      a key that the format does not have\n"
        "  expected: perhaps level\n"
        "  do:       restore the file from a copy, or run the command that made it again"
    )


def test_a_missing_key_is_named(report, tmp_path):
    del report["claim"]["words"]
    message = damaged(report, tmp_path)
    assert "claim.words" in message
    assert "got:      nothing" in message


def test_true_is_not_one(report, tmp_path):
    report["claim"]["opened"] = True
    assert "claim.opened" in damaged(report, tmp_path)


def test_an_unknown_answer_is_refused(report, tmp_path):
    report["checks"][0]["answer"] = "passed"
    message = damaged(report, tmp_path)
    assert "checks.0.answer" in message
    assert "'supported', 'refuted', 'inconclusive', 'vacuous' or 'not run'" in message


def test_a_share_that_is_not_its_counts_is_refused(report, tmp_path):
    report["evaluation"]["overall"]["hits"] -= 1
    message = damaged(report, tmp_path)
    assert "evaluation.overall" in message
    assert "is not 3534 / 3642" in message


def test_more_hits_than_pairs_are_refused(report, tmp_path):
    report["evaluation"]["overall"]["hits"] = 5000
    assert "5000 hits of 3642" in damaged(report, tmp_path)


def test_a_gated_cell_without_a_measurement_is_refused(report, tmp_path):
    report["evaluation"]["cells"][0]["rate"] = None
    assert "a gated cell was measured" in damaged(report, tmp_path)


def test_a_newer_format_asks_for_an_upgrade(report, tmp_path):
    message = damaged(report, tmp_path, format=2, commutes="9.0", novelty=1)
    assert message.startswith("the record was written by a newer version of commutes\n")
    assert "got:      format 2, by commutes 9.0\n  expected: format 1\n" in message


def refused(tmp_path, data: bytes) -> str:
    path = tmp_path / "report.json"
    path.write_bytes(data)
    with pytest.raises(ArtefactError) as caught:
        load_report(path)
    return str(caught.value)


def test_every_truncation_is_refused(report, tmp_path):
    data = dumps(report).encode()
    for end in (1, 10, len(data) // 2, len(data) - 3):
        assert "ends too early: it was truncated" in refused(tmp_path, data[:end])


def test_what_is_no_json_is_refused(tmp_path):
    assert "the record is not JSON" in refused(tmp_path, b"level = 'R2'\n")
    assert "the record is empty" in refused(tmp_path, b"")
    assert "the record is not a report" in refused(tmp_path, b"[1, 2]")
    assert "the key 'a' twice" in refused(tmp_path, b'{"a": 1, "a": 2}')
    assert "NaN, which is not JSON" in refused(tmp_path, b'{"a": NaN}')
    assert "nested too deeply" in refused(tmp_path, b"[" * 200_000)


def test_what_is_not_utf8_is_refused(tmp_path):
    message = refused(tmp_path, b'{"a": "\xff"}')
    assert "the record is not UTF-8 text" in message
    assert "byte 7" in message
    assert "byte 0xff" in message


def test_a_byte_order_mark_is_accepted(report, tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b"\xef\xbb\xbf" + dumps(report).replace("\n", "\r\n").encode())
    assert load_report(path) == as_report(report)


@given(st.data())
def test_a_flipped_bit_never_gives_another_error(data):
    from tempfile import TemporaryDirectory

    whole = bytearray(dumps({"format": 1, "commutes": "0.1.0", "level": "R2"}).encode())
    position = data.draw(st.integers(0, len(whole) - 1))
    whole[position] ^= 1 << data.draw(st.integers(0, 7))
    with TemporaryDirectory() as folder:
        path = f"{folder}/a.json"
        with open(path, "wb") as stream:
            stream.write(whole)
        with pytest.raises(ArtefactError):
            load_report(path)


@pytest.mark.parametrize(
    ("change", "got"),
    [
        (lambda r: r["claim"]["content"].update(level="R5"), "a claim with the hash "),
        (lambda r: r["claim"].update(fingerprint="0" * 64), "a claim with the hash "),
    ],
)
def test_a_claim_that_was_edited_after_its_hash_has_no_card(report, tmp_path, change, got):
    """Whoever opens the record is told, not only who asks for it to be verified."""
    record = copy.deepcopy(report)
    (tmp_path / "report.json").write_text(json.dumps(record))
    assert load_report(tmp_path / "report.json").claim.fingerprint == record["claim"]["fingerprint"]
    change(record)
    (tmp_path / "report.json").write_text(json.dumps(record))
    with pytest.raises(ArtefactError) as caught:
        load_report(tmp_path / "report.json")
    assert caught.value.what == "the claim is not the one that was fixed before the test split was opened"
    assert (caught.value.got or "").startswith(got)


def test_thresholds_that_were_lowered_after_the_claim_was_fixed_have_no_card(report, tmp_path):
    record = copy.deepcopy(report)
    content = {"thresholds": dict(record["thresholds"])}
    record["claim"] |= {"content": content, "fingerprint": content_hash(content)}
    path = tmp_path / "report.json"
    path.write_text(json.dumps(record))
    load_report(path)
    record["thresholds"]["target"] = 0.5
    path.write_text(json.dumps(record))
    with pytest.raises(ArtefactError, match="other thresholds than those that were fixed"):
        load_report(path)
