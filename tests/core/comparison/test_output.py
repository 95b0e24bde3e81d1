"""Tables, records and figures of a comparison."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

import curvature as cv
from curvature.comparison import Number, Row
from curvature.comparison.table import digits, number, seconds, size, text

from .conftest import make_problem


@pytest.fixture(scope="module")
def comparison():
    fisher = cv.Fisher(make_problem(cv.backend("numpy"), n=40))
    matrix = cv.MonteCarloFisher(fisher.problem, samples=2)
    return cv.compare(matrix, ["kfac", "diagonal", "kflr", "block-diagonal"], repeats=1, exact=False)


def test_the_table_has_a_line_for_each_and_stars_the_best(comparison):
    lines = str(comparison).splitlines()
    assert lines[0].startswith("MonteCarloFisher(samples=2) of 27 parameters, estimated, ± 95 %; damping δ = ")
    (kfac,) = [line for line in lines if line.startswith("kfac")]
    (best,) = [line for line in lines if line.startswith(comparison.best("error").label)]
    assert "±" in kfac
    assert "*" in best
    (refused,) = [line for line in lines if line.startswith("kflr  ")]
    assert "refused" in refused
    assert any(line.startswith("kflr: 'kflr' propagates an exact root") for line in lines)
    assert any("relative residual of" in line for line in lines)
    for unit in ("ms", "B"):
        assert unit in str(comparison)


def test_columns_are_aligned(comparison):
    lines = str(comparison).splitlines()
    head = next(i for i, line in enumerate(lines) if "error" in line and "cosine" in line)
    ends = [lines[head].index(word) + len(word) for word in ("cosine", "memory")]
    rows = [line for line in lines[head + 1 : head + 5] if "refused" not in line]
    for end in ends:
        assert all(len(line) < end or line[end - 1] != " " or line[end - 2] in "*0123456789B " for line in rows)
    assert len({len(line) for line in rows if line.rstrip().endswith("B")}) <= 2


def test_a_narrow_terminal_gets_quality_above_cost(comparison):
    wide, narrow = text(comparison, 400), text(comparison, 90)
    assert wide == str(comparison)
    said = ("kflr: ", "natural gradient", "MonteCarloFisher(samples=2) of")
    tables = [line for line in narrow.splitlines() if not line.startswith(said)]
    assert max(map(len, tables)) <= 90
    assert narrow.count("block-diagonal ") >= 2
    for word in ("error", "cosine", "KL (nats)", "eff. dim.", "make", "first solve", "memory"):
        assert word in narrow


def test_markdown(comparison):
    lines = [line for line in comparison.table().splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines}) == 1
    assert len(lines) == 2 + 4 + 1
    assert any("**" in line for line in lines)
    assert " **" not in lines[0]
    assert "*|" not in comparison.table().replace("**|", "|")


def test_numbers_as_text():
    assert number(Number.known(0.12345)) == "0.123"
    assert number(Number.within(0.123, 0.0312)) == "0.123 ±0.03"
    assert number(Number.within(0.123, 1e-9)) == "0.123"
    assert number(Number.missing("indefinite")) == "indefinite"
    assert number(Number.known(0.99996), cosine=True) == "1.0000"
    assert number(Number.known(float("nan"))) == "not finite"
    assert [digits(x) for x in (1234.5, 3e-16, 0.0, 1e7)] == ["1234", "<1e-9", "0", "1e+07"]
    assert [seconds(x) for x in (2.5e-7, 0.0123, 12.0)] == ["250 ns", "12.3 ms", "12 s"]
    assert [size(x) for x in (0, 512, 1.5e6)] == ["0 B", "512 B", "1.5 MB"]


def test_json_holds_settings_and_versions_and_is_read_again(comparison, tmp_path):
    path = tmp_path / "comparison.json"
    comparison.save(path)
    record = json.loads(path.read_text())
    assert record["settings"] == {"exact": False, "probes": 16, "examples": 256, "repeats": 1, "seed": 0}
    assert {"python", "curvature", "numpy", "backend", "device"} <= set(record["versions"])
    assert record["versions"]["backend"] == "numpy"
    found = cv.Comparison.load(path)
    assert found == comparison
    assert found.settings == comparison.settings
    assert str(found) == str(comparison)
    comparison.save(tmp_path / "comparison.md")
    assert (tmp_path / "comparison.md").read_text() == comparison.table() + "\n"
    with pytest.raises(cv.DataError, match=r"\.json or \.md"):
        comparison.save(tmp_path / "comparison.txt")


def test_records_that_cannot_be_are_refused_by_name(comparison, tmp_path):
    path = tmp_path / "comparison.json"
    with pytest.raises(cv.MissingFileError, match="no file"):
        cv.Comparison.load(path)
    path.write_text("{")
    with pytest.raises(cv.FileFormatError, match="no JSON"):
        cv.Comparison.load(path)
    record = json.loads(comparison.to_json())
    changes = [
        (("format",), 2, "format 2"),
        (("kind",), "something", "no comparison"),
        (("damping",), "much", "damping is 'much'"),
        (("rows", 0, "label"), 3, "row 0: label is 3"),
        (("rows", 1, "kl", "value"), "x", "row 1, kl: value is 'x'"),
        (("parameters",), True, "parameters is True"),
    ]
    for (*way, last), value, message in changes:
        changed = json.loads(json.dumps(record))
        place = changed
        for step in way:
            place = place[step]
        place[last] = value
        path.write_text(json.dumps(changed))
        with pytest.raises(cv.FileFormatError, match=message):
            cv.Comparison.load(path)
    del record["rows"][0]["kl"]
    path.write_text(json.dumps(record))
    with pytest.raises(cv.FileFormatError, match="row 0: missing or unknown: kl"):
        cv.Comparison.load(path)


def test_a_figure_of_scatter_and_bars(comparison, tmp_path):
    from matplotlib.image import imread

    path = tmp_path / "comparison.png"
    figure = comparison.plot(path)
    scatter, *bars = figure.axes
    assert len(bars) == 6
    assert {note.get_text() for note in scatter.texts} >= {"kfac", "diagonal", "block-diagonal"}
    picture = (imread(path)[:, :, :3] * 255).round().astype(int)
    colours = {tuple(pixel) for pixel in picture.reshape(-1, 3).tolist()}
    assert {(0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)} <= colours
    assert comparison.plot() is not None
    with pytest.raises(cv.DataError, match=r"\.png, \.pdf, \.svg"):
        comparison.plot(tmp_path / "comparison.jpg")


def test_rows_stand_at_one_height_in_all_panels():
    """Also where the first or the last of them has no bar."""
    cell, missing = Number.known, Number.missing("not converged")
    cells = [("a", 0.1, missing, cell(0.0)), ("b", 0.4, cell(0.9), cell(3.0)), ("c", 0.9, missing, missing)]
    rows = tuple(Row(name, "kfac", error=cell(e), cosine=c, kl=kl, seconds=0.01, bytes=10) for name, e, c, kl in cells)
    comparison = cv.Comparison(rows, cell(3.0), 0.001, "Fisher", 10, 0.1, "as given", True, 0.0)
    _, *bars = comparison.plot().axes
    assert len({tuple(axes.get_ylim()) for axes in bars}) == 1
    low, high = bars[0].get_ylim()
    assert low < 0
    assert high > len(rows) - 1
    assert [label.get_text() for label in bars[0].get_yticklabels()] == ["c", "b", "a"]


def test_labels_do_not_lie_on_each_other(tmp_path):
    cell = Number.known
    rows = tuple(
        Row(f"approximation {i}", "kfac", error=cell(0.4 + 0.001 * i), cosine=cell(0.9), seconds=0.01 * (1 + 0.02 * i), bytes=10)
        for i in range(8)
    )
    crowd = cv.Comparison(rows, cell(3.0), 0.001, "Fisher", 10, 0.1, "as given", True, 0.0)
    figure = crowd.plot()
    scatter = figure.axes[0]
    renderer = figure.canvas.get_renderer()
    boxes = [note.get_window_extent(renderer) for note in scatter.texts if note.get_text().startswith("approximation")]
    assert len(boxes) == 8
    for i, one in enumerate(boxes):
        assert not any(one.overlaps(other) for other in boxes[i + 1 :])


def test_without_matplotlib_it_says_what_to_install(comparison, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'curvature\[plot\]'"):
        comparison.plot()


def test_nothing_to_draw():
    empty = cv.Comparison((Row("kfra", "kfra", refused="no"),), Number.known(1.0), None, "Fisher", 3, 0.1, "as given", True, 0.0)
    with pytest.raises(cv.DataError, match="nothing to draw"):
        empty.plot()
    assert np.isfinite(empty.damping)
