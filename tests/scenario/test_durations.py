import pytest

from mdmsim.scenario.durations import Duration


@pytest.mark.parametrize(
    ("text", "ms"),
    [("500ms", 500), ("30s", 30_000), ("5m", 300_000), ("2h", 7_200_000), ("30d", 2_592_000_000), ("0s", 0)],
)
def test_a_duration_is_a_whole_number_and_a_unit(text: str, ms: int) -> None:
    assert Duration(text).ms == ms


@pytest.mark.parametrize("text", ["30", "s", "1.5s", "-1s", "30 s", "30S", "1w", "", "٣s", "9999999999s"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="whole number and a unit"):
        Duration(text)
