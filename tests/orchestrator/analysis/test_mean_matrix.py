"""Matrices as arrays: means with intervals, labelled, and tables of them that fit into memory."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from drawn import Drawn, drawn_results

from orchestrator import InputError, MatrixSpec, product
from orchestrator.analysis import tables
from orchestrator.analysis.estimates import estimate, estimates
from orchestrator.analysis.figures import matrix_svg
from orchestrator.analysis.mean_matrix import mean_of
from orchestrator.analysis.results import Results
from orchestrator.parts.matrix import Matrix, make_matrix
from orchestrator.parts.matrix_display import heat_map
from orchestrator.session import contrast


class Crossed(Drawn):
    """Drawn, with matrices."""

    name = "crossed"
    matrices = (
        MatrixSpec("scores", "extractor", "head", headline=True),
        MatrixSpec("other", "a", "b"),
    )


def a_matrix(values, name="scores", rows=("a", "b"), columns=("x", "y"), **more):
    return make_matrix(
        name, axes=("extractor", "head"), rows=rows, columns=columns, values=values, **more
    )


def crossed(store, matrix_of, *levels, seeds=3):
    """The results of a sweep whose cells have the matrices that a function gives."""
    grid = product(Crossed.grid(level=list(levels)), seed=range(seeds))
    results = drawn_results(store, grid, lambda cell: 0.5)
    for cell in results.plan.cells:
        matrix = matrix_of(cell.trial.method.level, cell.trial.seed)
        if matrix is not None:
            blob = store.put_blob(matrix.to_parquet())
            entry = {"name": "scores", "rows": "extractor", "columns": "head", "blob": blob}
            results.by_key[cell.trial.key].record["matrices"] = [entry]
    return results


def by_seed(level, seed):
    values = [[level, level + 0.1 * seed], [np.nan, 0.5]]
    notes = {(1, 0): "no common class"}
    return a_matrix(values, count=10, chance=0.25, notes=notes)


# ---------------------------------------------------------------------- arithmetic


@pytest.mark.parametrize("num_trials", [1, 2, 7, 8, 9, 130])
def test_means_of_arrays_are_those_of_their_entries_to_the_bit(num_trials):
    random = np.random.default_rng(num_trials)
    stacked = random.normal(size=(num_trials, 3, 4))
    stacked[random.random(stacked.shape) < 0.2] = np.nan
    found = estimates(stacked)
    for i, j in np.ndindex(3, 4):
        one = estimate(stacked[:, i, j].tolist())
        assert found.n[i, j] == one.n
        assert np.array_equal(
            [found.mean[i, j], found.half[i, j]], [one.mean, one.half], equal_nan=True
        )


def test_no_entry_of_a_mean_is_worked_on_by_itself(monkeypatch):
    """What took twenty minutes for 36 settings of 256 x 256 was Student's t once an entry."""
    from scipy import special

    calls = []
    quantile = special.stdtrit
    monkeypatch.setattr(special, "stdtrit", lambda *given: calls.append(1) or quantile(*given))
    random = np.random.default_rng(0)
    names = [str(number) for number in range(40)]
    many = [a_matrix(random.random((40, 40)), rows=names, columns=names) for _ in range(3)]
    assert mean_of(many, {}).n.tolist() == [[3] * 40] * 40
    assert len(calls) <= 1


def test_rows_that_differ_have_no_mean():
    assert mean_of([a_matrix(np.eye(2)), a_matrix(np.eye(2), rows=("a", "c"))], {}) is None
    assert mean_of([], {}) is None


def test_a_chance_that_differs_between_trials_is_their_mean():
    found = mean_of([a_matrix(np.eye(2), chance=chance) for chance in (0.1, 0.3)], {})
    assert found.chance.tolist() == [[pytest.approx(0.2)] * 2] * 2


@pytest.mark.parametrize("shape", [(0, 0), (1, 1), (3, 1), (1, 3)])
def test_matrices_of_any_shape_survive_parquet(shape):
    rows, columns = ([str(number) for number in range(size)] for size in shape)
    made = a_matrix(np.zeros(shape), rows=rows, columns=columns, components=(rows, columns))
    again = Matrix.from_parquet(made.to_parquet())
    assert (again.rows, again.columns, again.values.shape) == (made.rows, made.columns, shape)
    assert Matrix.size_of(made.to_parquet()) == made.values.size


# ---------------------------------------------------------------------- one setting's


def test_a_matrix_of_a_setting_has_labels_halves_and_n(store):
    found = crossed(store, by_seed, 1.0, 2.0).matrix(where={"level": 2.0})
    assert (found.name, found.rows, found.columns) == ("scores", ("a", "b"), ("x", "y"))
    assert found["a", "y"] == estimate([2.0, 2.1, 2.2])
    assert repr(found["a", "y"]) == "<Estimate 2.100 ±0.248 (n=3)>"
    assert found.n.tolist() == [[3, 3], [0, 3]]
    assert found.count.tolist() == [[30, 30], [30, 30]]
    assert found.notes == {(1, 0): "no common class"}
    assert found.setting == {"level": "2"}


def test_a_matrix_of_one_seed_has_no_interval(store):
    results = crossed(store, by_seed, 1.0, 2.0)
    found = results.matrix("scores", {"level": 1.0, "seed": 2})
    assert results.matrix({"level": 1.0, "seed": 2}).frame().equals(found.frame())
    assert (found.n[0, 1], found.values[0, 1]) == (1, 1.2)
    assert np.isnan(found.half).all()


def test_a_mean_goes_over_seeds_only_and_says_how_to_choose(store):
    with pytest.raises(InputError) as caught:
        crossed(store, by_seed, 1.0, 2.0).matrix()
    assert "where={'level': '1'}" in str(caught.value)
    assert caught.value.problems == ("level: 1, 2",)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("score", r"no matrix 'score'. Did you mean 'scores'\?"),
        ("other", "no mean of the matrix 'other' for level=1: none of its trials has it"),
    ],
)
def test_a_matrix_that_is_not_there_is_told(store, name, message):
    with pytest.raises(InputError, match=message):
        crossed(store, by_seed, 1.0, 2.0).matrix(name, {"level": 1.0})


def test_a_matrix_that_is_asked_for_as_a_metric_is_told(store):
    results = crossed(store, by_seed, 1.0, 2.0)
    for ask in (results.best, results.means):
        with pytest.raises(InputError, match=r"scores is a matrix, not a metric: results.matrix"):
            ask("scores")
    with pytest.raises(InputError, match=r"one entry of it is compared, .*entry\('scores', row="):
        contrast.of_settings(results, {"level": 1.0}, {"level": 2.0}, "scores")


def test_rows_that_differ_between_seeds_are_told(store):
    results = crossed(
        store, lambda level, seed: a_matrix(np.eye(2), rows=("a", str(seed))), 1.0, 2.0
    )
    with pytest.raises(InputError, match="rows or columns of its trials differ"):
        results.matrix(where={"level": 1.0})


def test_an_entry_is_named_by_its_labels(store):
    found = crossed(store, by_seed, 1.0, 2.0).matrix(where={"level": 1.0})
    with pytest.raises(InputError) as caught:
        found["a", "z"]
    assert caught.value.problems == ("head 'z': Valid: 'x', 'y'.",)


def test_a_matrix_is_a_data_frame_wide_or_long(store):
    found = crossed(store, by_seed, 1.0, 2.0).matrix(where={"level": 2.0})
    wide = found.frame()
    assert wide.loc["a", "y"] == found.values[0, 1]
    assert (wide.index.name, wide.columns.name) == ("extractor", "head")
    long = found.frame(long=True)
    assert list(long) == ["extractor", "head", "value", "half", "n", "count", "chance", "note"]
    assert long["note"].tolist() == ["", "", "no common class", ""]


def test_a_measured_matrix_is_asked_like_a_mean():
    one = by_seed(1.0, 2)
    mean = mean_of([one], {}, [2])
    assert (one["a", "y"], mean["a", "y"].mean) == (1.2, 1.2)
    assert np.isnan(one["b", "x"])
    assert one.without_value == mean.without_value == {("b", "x"): "no common class"}
    assert one.frame().equals(mean.frame())
    long = one.frame(long=True)
    assert list(long) == ["extractor", "head", "value", "count", "chance", "note"]
    assert long.equals(mean.frame(long=True)[list(long)])
    assert one.count[one.place("a", "y")] == 10
    for matrix in (one, mean):
        with pytest.raises(
            InputError, match=r"has no entry .*\n  - extractor 'c': Valid: 'a', 'b'"
        ):
            matrix["c", "x"]
        with pytest.raises(InputError, match=r"by number: matrix.values\[row, column\]"):
            matrix[0, 1]
        with pytest.raises(InputError, match="named by its row and its column, got 'ax'"):
            matrix["ax"]


def test_an_entry_without_a_reason_was_not_measured():
    assert a_matrix([[np.nan, 1], [1, 1]]).without_value == {("a", "x"): "not measured"}


class TestTheComponentsBehindAMean:
    def mean(self, *seeds):
        matrices = [
            a_matrix(np.eye(2), components=((f"k{n}/a", f"k{n}/b"), (f"k{n}/x", ""))) for n in seeds
        ]
        return mean_of(matrices, {}, seeds)

    def test_each_seed_has_its_own(self):
        assert self.mean(0, 1).pair("a", "x", seed=1) == ("k1/a", "k1/x")
        with pytest.raises(InputError, match=r"Say whose: pair\('a', 'x', seed=...\), of 0, 1"):
            self.mean(0, 1).pair("a", "x")
        with pytest.raises(InputError, match=r"There is none of seed 7. Say whose.* of 0, 1"):
            self.mean(0, 1).pair("a", "x", seed=7)

    def test_those_of_a_single_trial_need_no_seed(self):
        assert self.mean(3).pair("b", "x") == ("k3/b", "k3/x")
        with pytest.raises(InputError, match="'y' of matrix scores stands for no stored component"):
            self.mean(3).pair("b", "y")
        with pytest.raises(InputError, match="'a' of matrix scores stands for no stored component"):
            mean_of([a_matrix(np.eye(2))], {}, [3]).pair("a", "x")

    def test_a_sweep_knows_its_seeds(self, store):
        def measured(level, seed):
            return a_matrix(np.eye(2), components=((f"k{seed}/a", "b"), ("x", "y")))

        found = crossed(store, measured, 1.0, 2.0).matrix(where={"level": 2.0})
        assert found.pair("a", "x", seed=2) == ("k2/a", "x")


def test_a_matrix_shows_itself_in_a_line_a_table_and_a_figure(store):
    found = crossed(store, by_seed, 1.0, 2.0).matrix(where={"level": 2.0})
    assert repr(found) == (
        "<MeanMatrix scores: 2 extractor x 2 head, from 0.500 to 2.100, 1 without a value, "
        "chance 0.250; mean of n=0 to 3>"
    )
    assert "<td>2.100 ±0.248</td>" in found._repr_html_()
    figure = found.plot()
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert figure.axes[0].get_title() == "level=2 (chance 0.250)"
    one = by_seed(1.0, 0)
    assert repr(one).startswith("<Matrix scores: 2 extractor x 2 head")
    assert "<th>y</th>" in one._repr_html_()
    assert one.frame().loc["b", "y"] == 0.5
    assert one.plot()._repr_png_().startswith(b"\x89PNG")


# ---------------------------------------------------------------------- large ones


def test_the_table_of_matrices_has_a_row_an_entry(store):
    table = crossed(store, by_seed, 1.0, 2.0, seeds=1).matrices_table()
    assert table.num_rows == 8
    assert table.column_names[:4] == ["cell", "key", "outcome", "level"]
    assert table["row"].to_pylist() == ["a", "a", "b", "b"] * 2
    assert table["column"].to_pylist() == ["x", "y"] * 4
    assert table["note"].to_pylist()[:4] == ["", "", "no common class", ""]
    assert table["row_component"].to_pylist() == [""] * 8
    assert table["value"].to_pylist()[4:6] == [2.0, 2.0]
    assert pa.types.is_dictionary(table["row"].type)


def test_matrices_are_written_one_after_the_other(store, tmp_path, monkeypatch):
    """Whatever their number, few are in memory; the file says what the table says."""
    monkeypatch.setattr(tables, "ROW_GROUP", 8)
    results = crossed(store, by_seed, 1.0, 2.0)
    results.write(tmp_path)
    file = pq.ParquetFile(tmp_path / "matrices.parquet")
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [8, 8, 8]
    assert file.read().to_pylist() == [
        {**row, "value": pytest.approx(row["value"], nan_ok=True)}
        for row in results.matrices_table().to_pylist()
    ]
    assert not list(tmp_path.glob(".*"))


def test_tables_of_no_matrices_have_their_columns(store, tmp_path):
    results = crossed(store, lambda level, seed: None, 1.0, 2.0)
    assert results.matrices_table().num_rows == 0
    results.write(tmp_path)
    assert "row" in pq.read_table(tmp_path / "matrices.parquet").column_names


def test_claims_keep_few_matrices_in_memory(store, monkeypatch):
    from orchestrator import claims
    from orchestrator.analysis import results as module

    monkeypatch.setattr(module, "KEPT_ENTRIES", 9)
    results = crossed(store, by_seed, 1.0, 2.0)
    entry = claims.entry("scores", row="a", column="y")
    found = [results.matrix_entry(cell.trial.key, entry) for cell in results.plan.cells]
    assert found == pytest.approx([1.0, 1.1, 1.2, 2.0, 2.1, 2.2])
    assert sum(m.values.size for m in results._entries.values()) <= 9


def test_a_picture_of_a_very_large_matrix_is_one_image():
    names = [f"network {number}" for number in range(64)]
    picture = matrix_svg(
        a_matrix(np.random.default_rng(0).random((64, 64)), rows=names, columns=names)
    )
    assert picture.count("<rect") == 1
    assert "data:image/png;base64," in picture
    assert len(picture) < 50_000


def test_a_heat_map_names_some_of_very_many_rows():
    names = [f"network {number}" for number in range(200)]
    figure = heat_map([("", a_matrix(np.zeros((200, 200)), rows=names, columns=names), None)])
    ticks = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert ticks == names[::17]


def test_means_of_large_matrices_are_not_kept(store, monkeypatch):
    from orchestrator.analysis import groups

    results: Results = crossed(store, by_seed, 1.0, 2.0)
    group = results.groups()[0]
    assert group.matrix("scores") is group.matrix("scores")
    monkeypatch.setattr(groups, "KEPT_ENTRIES", 3)
    other = results.groups()[1]
    assert other.matrix("scores") is not other.matrix("scores")
