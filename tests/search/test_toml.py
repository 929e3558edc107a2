from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest

from commutes.errors import SpecError
from commutes.search._toml import key_lines, parse_toml, read_text, shown

TEXT = '''\
# a comment = 1
a = "x = 1 # not a key"
b = """
c = 1
"""
[t]          # [no.table]
d = [1,
  2, { e = 3 },
]
"f g" = 1
h.i = { j = 1, k = { l = 2 } }
[t.u]
d = 1
[[v]]
d = 1
'''


def test_every_key_has_its_line():
    tomllib.loads(TEXT)
    assert key_lines(TEXT) == {
        ("a",): (2,),
        ("b",): (3,),
        ("t",): (6,),
        ("t", "d"): (7,),
        ("t", "d", "e"): (8,),
        ("t", "f g"): (10,),
        ("t", "h", "i"): (11,),
        ("t", "h", "i", "j"): (11,),
        ("t", "h", "i", "k"): (11,),
        ("t", "h", "i", "k", "l"): (11,),
        ("t", "u"): (12,),
        ("t", "u", "d"): (13,),
        ("v",): (14,),
        ("v", "d"): (15,),
    }


def refusal(path: Path) -> SpecError:
    with pytest.raises(SpecError) as caught:
        parse_toml(read_text(path), shown(path))
    return caught.value


def test_a_mark_and_windows_line_ends_are_accepted(tmp_path):
    path = tmp_path / "a.toml"
    path.write_bytes("\ufeffa = 1\r\nb = 2\r\n".encode())
    assert parse_toml(read_text(path), "a.toml") == {"a": 1, "b": 2}


def test_bytes_that_are_not_utf8_are_named_by_offset(tmp_path):
    path = tmp_path / "a.toml"
    path.write_bytes(b"a = 1\nb = '\xff'\n")
    error = refusal(path)
    assert error.what == "the spec is not UTF-8 text"
    assert error.where == f"{path}, line 2, byte offset 11"
    assert error.got == "the byte 0xff"
    path.write_bytes(b"\xef\xbb\xbfa = 1\nb = '\xff'\n")
    assert refusal(path).where == f"{path}, line 2, byte offset 14"


def test_a_folder_is_not_a_spec(tmp_path):
    error = refusal(tmp_path)
    assert (error.what, error.got) == ("the spec is not a file", "a folder")
    assert error.fix == "name a .toml file in it"


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    path = tmp_path / "pipe.toml"
    os.mkfifo(path)
    assert refusal(path).got == "a named pipe"


def test_a_file_of_a_hundred_megabytes_is_refused_unread(tmp_path):
    path = tmp_path / "large.toml"
    with path.open("wb") as file:
        file.truncate(100_000_000)
    error = refusal(path)
    assert error.what == "the file is too large to be a spec"
    assert error.got == "100,000,000 bytes"
    assert error.expected == "at most 1,000,000 bytes of TOML"


def test_a_missing_file_is_told(tmp_path):
    assert refusal(tmp_path / "none.toml").what == "the spec cannot be read"


@pytest.mark.parametrize(
    ("text", "key", "lines"),
    [
        ("a = 1\nb = 2\na = 3\n", "a", "lines 1 and 3"),
        ("[fit]\nlr = 1\n\n[data]\n[fit]\n", "fit", "lines 1 and 5"),
        ("[fit]\nlr = 1\nlr = 2\n", "fit.lr", "lines 2 and 3"),
        ("fit = { lr = 1, lr = 2 }\n", "fit.lr", "line 1"),
    ],
)
def test_a_key_that_is_given_twice_is_told_with_both_lines(text, key, lines):
    with pytest.raises(SpecError) as caught:
        parse_toml(text, "a.toml")
    assert caught.value.what == f"the key {key} is given twice"
    assert caught.value.where == f"a.toml, {lines}"
    first = int(lines.split()[1])
    assert f"line {first}: {text.splitlines()[first - 1]}" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "where", "got"),
    [
        ("a = 1\nb = equality\n", "a.toml, line 2, column 5", "b = equality\n    ^"),
        ("a = [1,\n", "a.toml, line 1, column 8", "a = [1,\n       ^"),
        ("a = 1\nb\n", "a.toml, line 2, column 2", "b\n ^"),
    ],
)
def test_a_syntax_error_has_its_line_and_a_caret(text, where, got):
    with pytest.raises(SpecError, match="the spec is not valid TOML") as caught:
        parse_toml(text, "a.toml")
    assert caught.value.where == where
    assert caught.value.got == got


def test_brackets_without_end_are_an_error_of_the_spec():
    with pytest.raises(SpecError, match="nested too deeply"):
        parse_toml("a = " + "[" * 50_000, "a.toml")


@pytest.mark.parametrize(
    "text", ["", "=", "[", "a = {", '"', "]]]", "a.b = [}", "\x00", "[a\nb = 1", '"""\n\n']
)
def test_the_lines_of_broken_text_are_found_as_far_as_they_go(text):
    assert isinstance(key_lines(text), dict)
