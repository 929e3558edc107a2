import numpy as np
import pytest

from commutes.errors import ArtefactError
from commutes.report import sha256_of
from commutes.report.tables import read_pairs, write_pairs


def columns() -> dict:
    return {
        "hit": np.array([True, False, True]),
        "base": np.array([3, 1, 2], dtype=np.uint64) + np.uint64(2**63),
        "logits": np.array([[0.5, 1.0], [2.0, 3.0], [4.0, 5.0]]),
        "stratum": ["flip", "placebo", "a\udc80"],
        "margin": [0.5, None, -1.0],
        "value": [(1, 2), True, None],
    }


def test_a_table_comes_back_as_it_was(tmp_path):
    digest = write_pairs(tmp_path / "a.parquet", columns())
    assert digest == sha256_of(tmp_path / "a.parquet")
    back = read_pairs(tmp_path / "a.parquet")
    assert list(back.columns) == list(columns())
    assert back["hit"].tolist() == [True, False, True]
    assert back["base"].tolist() == [2**63 + 3, 2**63 + 1, 2**63 + 2]
    assert [list(row) for row in back["logits"]] == [[0.5, 1.0], [2.0, 3.0], [4.0, 5.0]]
    assert back["stratum"].tolist() == ["flip", "placebo", "a\\udc80"]
    assert back["margin"].isna().tolist() == [False, True, False]
    assert back["value"].tolist() == ["[1, 2]", "true", "null"]


def test_the_same_columns_give_the_same_file(tmp_path):
    assert write_pairs(tmp_path / "a", columns()) == write_pairs(tmp_path / "b", columns())


def test_unequal_columns_are_refused(tmp_path):
    with pytest.raises(ArtefactError) as caught:
        write_pairs(tmp_path / "a", {"hit": [True], "base": [1, 2]})
    assert "differ in length" in str(caught.value)
    assert "hit: 1, base: 2" in str(caught.value)
    with pytest.raises(ArtefactError, match="has no columns"):
        write_pairs(tmp_path / "a", {})
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_table_is_refused(tmp_path):
    path = tmp_path / "a.parquet"
    write_pairs(path, columns())
    data = path.read_bytes()
    for bad in (data[:-20], data[: len(data) // 2], b"PAR1", b"hello"):
        path.write_bytes(bad)
        with pytest.raises(ArtefactError, match="damaged or not Parquet"):
            read_pairs(path)
    with pytest.raises(ArtefactError, match="there is no such file"):
        read_pairs(tmp_path / "b.parquet")
