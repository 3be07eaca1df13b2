"""What commands print."""

import json
import math

from recollect.cli.output import print_json


def test_what_is_not_a_number_is_null(capsys):
    print_json({"a": [math.nan, 1.5, {"b": math.inf}], "c": (True, "NaN", None, -math.inf)})
    assert json.loads(capsys.readouterr().out) == {
        "a": [None, 1.5, {"b": None}],
        "c": [True, "NaN", None, None],
    }
