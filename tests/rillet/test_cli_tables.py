# SPDX-License-Identifier: Apache-2.0
"""Tables are aligned: text to the left, numbers to the right."""

from __future__ import annotations

from rillet.tables import table


def test_numbers_go_right_and_text_left() -> None:
    text = table(["op", "count"], [["CONV_2D", 12], ["ADD", "1,234"], ["PAD", None]])
    assert text.splitlines() == [
        "op       count",
        "-------  -----",
        "CONV_2D     12",
        "ADD      1,234",
        "PAD",
    ]


def test_a_column_with_a_word_is_text() -> None:
    assert table(["v"], [["1"], ["none"]]).splitlines()[2:] == ["1", "none"]


def test_no_rows() -> None:
    assert table(["a", "b"], []).splitlines() == ["a  b", "-  -"]
