import json
from dataclasses import replace

import pytest

from pfid import MetricError, MetricValue

PLAIN = MetricValue("FID", 10.35, "a network (sha256 0123)", "to 299 px", 10_000, 9_000)
CROPS = replace(
    PLAIN, name="patch-FID", plan="any-resolution", plan_sha256="ab" * 32, interval=(9.9, 11.2), note="a note"
)


def test_a_figure_survives_json() -> None:
    for figure in (PLAIN, CROPS):
        assert MetricValue.from_json(figure.to_json()) == figure
    assert json.loads(CROPS.to_json())["interval"] == [9.9, 11.2]


def test_a_figure_prints_all_that_it_is_of() -> None:
    assert str(PLAIN) == "FID 10.35; 10,000 real, 9,000 generated; a network (sha256 0123); resize: to 299 px"
    for part in ("[9.9, 11.2] (95%)", "crops: any-resolution (sha256 abababababab)", "a note"):
        assert part in str(CROPS)


def test_figures_of_the_same_meaning_compare() -> None:
    figure, crops = PLAIN, CROPS
    better = replace(PLAIN, value=8.0, n_fake=10_000)
    other_crops = replace(CROPS, plan_sha256="cd" * 32, value=20.0)
    assert better < figure
    assert figure > better
    assert min(figure, better) is better
    assert figure - better == pytest.approx(2.35)
    assert crops < other_crops


@pytest.mark.parametrize("field", ["name", "extractor", "resize", "plan"])
def test_figures_of_another_meaning_refuse_to_be_compared(field: str) -> None:
    figure, other = CROPS, replace(CROPS, **{field: "another"})
    for compare in (lambda: figure < other, lambda: figure > other, lambda: figure - other):
        with pytest.raises(MetricError, match=f"different {field} cannot be compared: .* another|another and"):
            compare()


def test_what_is_no_figure_is_refused() -> None:
    with pytest.raises(MetricError, match="nan is no metric value"):
        replace(PLAIN, value=float("nan"))
    for text in ("", "[]", "{}", '{"name": "FID"}', '{"interval": [1]}', PLAIN.to_json().replace("10.35", "NaN")):
        with pytest.raises(MetricError, match="no metric value"):
            MetricValue.from_json(text)
