from __future__ import annotations

import json

from commutes.search import json_schema


def test_the_schema_is_json_on_standard_output(command):
    ended = command("schema")
    assert ended.status == 0
    assert json.loads(ended.out) == json_schema()
    assert ended.err == ""
