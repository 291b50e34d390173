import json
import math
import tomllib

import numpy as np
import pytest

from maskcond import KUMAR_CONDITIONS, Category, ConditionError, ConditionSet, Number

KIDNEY_CONDITIONS = ConditionSet(
    (Category("outcome", ("kept", "lost")), Number("days", 365, 300), Number("creatinine", 1.5, 0.5))
)


def test_the_tissues_and_diseases_are_those_of_the_method() -> None:
    tissue, disease = KUMAR_CONDITIONS.parts
    assert (len(tissue.values), len(disease.values)) == (7, 9)
    assert KUMAR_CONDITIONS.width == 8 + 10


def test_every_value_and_every_gap_has_an_embedding_of_its_own() -> None:
    tissue, disease = KUMAR_CONDITIONS.parts
    embeddings = {
        KUMAR_CONDITIONS.encode({"tissue": t, "disease": d}).tobytes()
        for t in (None, *tissue.values)
        for d in (None, *disease.values)
    }
    assert len(embeddings) == 8 * 10


def test_no_embedding_is_all_zeros() -> None:
    first = {part.name: part.values[0] for part in KUMAR_CONDITIONS.parts}
    for given in ({}, first, {"tissue": "Breast"}):
        assert KUMAR_CONDITIONS.encode(given).sum() == 2
    # The number that is scaled to 0 is not the number that is not given.
    assert KIDNEY_CONDITIONS.encode({"days": 365}).any()
    assert (KIDNEY_CONDITIONS.encode({"days": 365}) != KIDNEY_CONDITIONS.encode({})).any()


@pytest.mark.parametrize(
    "given",
    [
        {"outcome": None, "days": None, "creatinine": None},
        {"outcome": "lost", "days": 0.0, "creatinine": None},
        {"outcome": None, "days": -3.0, "creatinine": 12.0},
    ],
)
def test_values_survive_being_embedded(given) -> None:
    embedding = KIDNEY_CONDITIONS.encode(given)
    assert embedding.shape == (KIDNEY_CONDITIONS.width,)
    assert embedding.dtype == np.float32
    assert KIDNEY_CONDITIONS.decode(embedding) == {
        name: pytest.approx(value, abs=1e-4) if isinstance(value, float) else value for name, value in given.items()
    }


def test_what_is_left_out_is_not_given() -> None:
    np.testing.assert_array_equal(
        KUMAR_CONDITIONS.encode({"disease": None}), KUMAR_CONDITIONS.encode({"tissue": None, "disease": None})
    )


def test_one_mask_can_be_drawn_as_any_tissue() -> None:
    variants = list(KUMAR_CONDITIONS.each("tissue", {"tissue": "Liver", "disease": None}))
    assert [variant["tissue"] for variant in variants] == list(KUMAR_CONDITIONS.parts[0].values)
    assert all(variant["disease"] is None for variant in variants)
    assert len({KUMAR_CONDITIONS.encode(variant).tobytes() for variant in variants}) == 7
    with pytest.raises(ConditionError, match="days is a number; only a category"):
        KIDNEY_CONDITIONS.each("days")


def test_numbers_are_scaled_by_the_training_set() -> None:
    days = Number.of("days", [10, 20, 60])
    scaled = [days.encode(value)[2] for value in (10, 20, 60)]
    assert np.mean(scaled) == pytest.approx(0)
    assert np.std(scaled) == pytest.approx(1)


@pytest.mark.parametrize("conditions", [KUMAR_CONDITIONS, KIDNEY_CONDITIONS])
def test_conditions_survive_toml(conditions: ConditionSet) -> None:
    # Of strings, numbers and lists, JSON's form is TOML's.
    tables = ("\n".join(f"{key} = {json.dumps(value)}" for key, value in table.items()) for table in conditions.plain())
    text = "".join(f"[[conditions]]\n{table}\n" for table in tables)
    assert ConditionSet.from_plain(tomllib.loads(text)["conditions"]) == conditions


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tissue": "breast"}, "unknown tissue 'breast'; did you mean 'Breast'?"),
        ({"tissue": 3}, "unknown tissue '3'; did you mean"),
        ({"organ": "Breast"}, "unknown condition 'organ'; known are tissue, disease"),
    ],
)
def test_unknown_values_and_conditions_are_named(given, message) -> None:
    with pytest.raises(ConditionError, match=message):
        KUMAR_CONDITIONS.encode(given)


@pytest.mark.parametrize("value", ["12", math.nan, math.inf])
def test_what_is_no_number_is_refused(value) -> None:
    with pytest.raises(ConditionError, match=f"wanted a number as days, got '{value}'"):
        KIDNEY_CONDITIONS.encode({"days": value})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConditionSet(()), "at least one"),
        (
            lambda: ConditionSet((Number("a", 0, 1), Category("a", ("b",)))),
            r"different names, at least one, got \['a', 'a'\]",
        ),
        (lambda: Category("tissue", ()), "tissue: wanted different values"),
        (lambda: Category("tissue", ("a", "a")), "tissue: wanted different values"),
        (lambda: Number("days", 0, 0), "positive scale"),
        (lambda: Number.of("days", [3, 3]), "at least two different"),
        (lambda: ConditionSet.from_plain([{"name": "a"}]), "wanted a condition with name and values"),
        (lambda: ConditionSet.from_plain([{"name": "a", "values": [1]}]), "wanted a condition with name and values"),
        (lambda: ConditionSet.from_plain([{"name": "a", "values": ["b"], "scale": 2}]), "wanted a condition with"),
        (lambda: KUMAR_CONDITIONS.decode(np.zeros(3, np.float32)), r"shape \(18,\), got \(3,\)"),
    ],
)
def test_conditions_that_make_no_sense_are_refused(make, message) -> None:
    with pytest.raises(ConditionError, match=message):
        make()
