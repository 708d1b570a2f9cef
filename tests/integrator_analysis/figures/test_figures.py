"""The figures: what is drawn and labelled, what is refused, and that files are reproducible and never half-written."""

from __future__ import annotations

import os
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from integrator_analysis import figures

STEPS = np.array([0.1, 0.05, 0.025, 0.0125])
CATALOGUE = [
    *("psld/Euler", "psld/EM", "psld/NSE", "psld/RSE", "psld/NVV", "psld/RVV", "psld/NOBA", "psld/ROBA"),
    *("psld/CSE", "psld/CVV", "psld/COBA", "psld/lambda-DDIM-I", "psld/lambda-DDIM-II", "vp/DDIM", "psld/SSCS"),
]


@pytest.fixture
def ax():
    with figures.style():
        yield figures.new_figure().subplots()


def errors(labels=("psld/RSE", "psld/RVV")):
    return {label: (i + 1) * 0.1 * STEPS**2 for i, label in enumerate(labels)}


def texts(ax):
    """Title, axis labels and legend entries."""
    found = [] if ax.get_legend() is None else [text.get_text() for text in ax.get_legend().get_texts()]
    return ax.get_title(), ax.get_xlabel(), ax.get_ylabel(), found


# --- what is drawn ---------------------------------------------------------------------------------------------------


def test_the_stability_region_of_explicit_euler_ends_at_minus_two(ax):
    re, im = np.linspace(-3, 1, 161), np.linspace(-2, 2, 81)
    radius = np.abs(1 + re[None, :] + 1j * im[:, None])
    assert figures.stability_region(ax, re, im, radius, title="Euler", colorbar=True) is ax
    assert texts(ax)[:3] == ("Euler", "Re(h × eigenvalue)", "Im(h × eigenvalue)")
    edge = next(c for c in ax.collections if list(getattr(c, "levels", [])) == [1])
    points = edge.get_paths()[0].vertices
    np.testing.assert_allclose(np.abs(1 + points[:, 0] + 1j * points[:, 1]), 1, atol=2e-3)
    assert points[:, 0].min() == pytest.approx(-2, abs=0.02)


def test_a_constant_map_marks_the_best_parameter_at_each_time(ax):
    lambdas, times = np.linspace(-1, 1, 21), np.linspace(0.1, 0.9, 9)
    figures.constant_map(ax, lambdas, times, (lambdas[None, :] - times[:, None]) ** 2 + 0.01, label="constant")
    best = ax.lines[-1]
    np.testing.assert_allclose(best.get_xdata(), times, atol=0.051)
    np.testing.assert_allclose(best.get_ydata(), times)
    bar = next(other for other in ax.figure.axes if other is not ax)
    assert (bar.get_ylabel(), bar.get_yscale()) == ("constant", "log")
    assert ax.get_xscale() == "linear"


def test_a_constant_map_of_one_size_or_with_zeros_is_drawn_and_one_of_zeros_refused(ax):
    figures.constant_map(ax, [0.01, 1.0], [0.1, 0.2], [[1.0, 1.0], [0.0, 1.0]])
    assert ax.get_xscale() == "log"
    with pytest.raises(ValueError, match="nothing to colour"):
        figures.constant_map(ax, [0.01, 1.0], [0.1, 0.2], np.zeros((2, 2)))
    with pytest.raises(ValueError, match="shape"):
        figures.constant_map(ax, [0.01, 1.0], [0.1, 0.2], np.ones((3, 2)))


def test_work_precision_draws_asymptotes_beside_hollow_markers(ax):
    evaluations = np.array([10, 20, 40, 80])
    predicted = {"psld/RVV": 100 / evaluations}  # far above at first: the axes stay with what was measured
    figures.work_precision(ax, evaluations, errors(), predicted=predicted, ylabel="error")
    dashed = next(one for one in ax.lines if one.get_linewidth() == 1.1 and len(one.get_xdata()))
    np.testing.assert_allclose(dashed.get_ydata(), 100 / evaluations)
    assert "predicted (markers: measured)" in texts(ax)[3]
    assert ax.get_ylim()[1] < 1


def test_error_sources_are_sizes_over_log_time(ax):
    figures.error_densities(ax, [0.1, 0.2, 0.4, 0.8], {"psld/RVV": [-1.0, 2.0, 0.0, 3.0]})
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [1, 2, np.nan, 3])
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")


@pytest.mark.parametrize(
    ("radius", "words"), [(3.0, "no stable point in this window"), (0.5, "stable in the whole window"), (np.nan, "no")]
)
def test_a_region_without_an_edge_says_so(ax, radius, words):
    figures.stability_region(ax, [0, 1], [0, 1, 2], np.full((3, 2), radius), title="")
    assert any(text.get_text().startswith(words) for text in ax.texts)


def polar(farthest):
    return np.linspace(0.02, 1, 50)[:, None] * farthest * np.exp(1j * np.linspace(-np.pi, np.pi, 181))


def test_several_regions_share_axes_whose_box_holds_them_all(ax):
    small, large = polar(2.5), polar(3.5)
    regions = {
        "vp/Euler": (small.real, small.imag, np.abs(1 + small)),
        "vp/Heun": (large.real, large.imag, np.abs(1 + large + large**2 / 2)),
        "none": (small.real, small.imag, np.full(small.shape, np.nan)),
    }
    assert figures.stability_regions(ax, regions) is ax
    left, right = ax.get_xlim()
    assert -3 < left < -2 < 0 < right < 1
    assert 1.73 < ax.get_ylim()[1] < 2.5  # Heun's region ends at sqrt(3)
    assert texts(ax)[3] == ["vp/Euler", "vp/Heun", "none (no edge found)"]
    edges = [c for c in ax.collections if list(getattr(c, "levels", [])) == [1]]
    circle = edges[0].get_paths()[0].vertices
    np.testing.assert_allclose(np.hypot(1 + circle[:, 0], circle[:, 1]), 1, atol=0.02)


def test_an_order_star_and_a_spectrum_are_drawn(ax):
    mu = polar(2.0)
    figures.order_star(ax, (mu.real, mu.imag, np.abs(1 + mu) / np.exp(mu.real)), title="Euler")
    assert any(list(getattr(c, "levels", [])) == [1 + 1e-9] for c in ax.collections)
    other = figures.new_figure().subplots()
    points = np.array([[-1.9, -0.5 + 0.2j], [0.1, -60.0]])
    figures.spectrum_over_region(other, (mu.real, mu.imag, np.abs(1 + mu)), points, [[1, 1], [0.5, 0.5]], title="Euler")
    assert other.get_xlim()[0] < -50


def test_growth_and_oscillation_are_drawn(ax):
    figures.transient_growth(ax, [0.1, 0.2, 0.4], [1.0, 10.0], [[1, 2, np.inf], [1, 200, np.nan]])
    shown = ax.collections[0].get_array()
    np.testing.assert_array_equal(shown.mask.reshape(2, 3), [[False, False, True], [False, False, True]])
    assert shown.max() == 100
    theta, two = np.array([0.1, 0.2, 0.4]), figures.new_figure().subplots(1, 2)
    figures.phase_errors(two[0], theta, {"psld/RVV": theta**3 / 24})
    figures.amplitude_errors(two[1], theta, {"psld/RVV": 0 * theta, "psld/Euler": theta**2 / 2})
    assert texts(two[1])[3] == ["psld/RVV (none)", "psld/Euler"]
    third = figures.new_figure().subplots()
    figures.stable_evaluations(third, [0.01, 1.0], {"vp/EM": [25, 11], "vp/Euler": [np.nan, 3]}, most=256)
    assert texts(third)[3] == ["vp/EM", "vp/Euler (gap: more than tried)", "most steps tried"]


def test_the_stability_interval_shows_the_radius_over_steps_and_eigenvalues(ax):
    h, eigenvalues = np.linspace(0.01, 1, 30), np.linspace(-5, 1, 20)
    radius = np.abs(1 + h[None, :] * eigenvalues[:, None])
    figures.stability_interval(ax, h, eigenvalues, radius)
    np.testing.assert_allclose(ax.collections[0].get_array(), radius)
    assert ax.figure.axes[1].get_ylabel() == "spectral radius of one step"
    assert "step size h" in ax.get_xlabel()


def test_spectral_radius_curves_are_the_data_with_undefined_values_as_gaps(ax):
    radius = {"psld/RVV": [1, 0.5, 1.5], "psld/RSE": [1, np.nan, np.inf]}
    figures.spectral_radius_curves(ax, [0.1, 0.2, 0.3], radius)
    drawn = {line.get_label(): line.get_ydata() for line in ax.lines}
    np.testing.assert_array_equal(drawn["psld/RVV"], [1, 0.5, 1.5])
    np.testing.assert_array_equal(drawn["psld/RSE"], [1, np.nan, np.nan])
    assert texts(ax)[3] == ["psld/RVV", "psld/RSE"]


def test_convergence_draws_measurements_predictions_and_reference_slopes_below_them(ax):
    measured, predicted = errors(), {"psld/RVV": 0.2 * STEPS**2}
    figures.convergence(
        ax, STEPS, measured, predicted=predicted, reference_slopes=(1, 2, 3), title="Order", ylabel="RMS"
    )
    title, xlabel, ylabel, legend = texts(ax)
    assert (title, ylabel) == ("Order", "RMS")
    assert "forward diffusion time" in xlabel
    assert legend == ["psld/RSE", "psld/RVV", "predicted (markers: measured)"]
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    references = [line for line in ax.lines if line.get_linestyle() == ":"]
    slopes = [np.diff(np.log(line.get_ydata()))[0] / np.diff(np.log(line.get_xdata()))[0] for line in references]
    np.testing.assert_allclose(slopes, [3, 2, 1])
    for line in references:
        x, y = line.get_data()
        below = np.interp(np.log(STEPS[::-1]), np.log(x), np.log(y), left=-np.inf)[::-1]
        assert (np.exp(below) < measured["psld/RSE"]).all()
    assert {text.get_text() for text in ax.texts} == {"slope 1", "slope 2", "slope 3"}


def test_an_exact_or_diverged_scheme_is_a_gap_not_an_error(ax):
    figures.convergence(ax, STEPS, {"exact": np.zeros(4), "diverged": np.full(4, np.inf)})
    assert all(np.isnan(line.get_ydata()).all() for line in ax.lines)


def test_work_precision_takes_one_array_of_evaluations_per_scheme(ax):
    evaluations = {"psld/RSE": [10, 20, 50], "psld/RVV": [20, 40]}
    values = {"psld/RSE": [1, 0.5, 0.2], "psld/RVV": [0.6, 0.1]}
    figures.work_precision(ax, evaluations, values, ylabel="sliced Wasserstein distance", floor=0.05)
    drawn = {line.get_label(): line.get_xydata() for line in ax.lines}
    np.testing.assert_array_equal(drawn["psld/RVV"], [[20, 0.6], [40, 0.1]])
    assert ax.get_xlabel() == "network evaluations"
    assert ax.get_ylabel() == "sliced Wasserstein distance"
    assert texts(ax)[3] == ["psld/RSE", "psld/RVV", "floor: as good as fresh data"]


def test_many_schemes_get_a_legend_outside_the_axes_and_inside_the_file(ax):
    figures.work_precision(ax, STEPS, errors(CATALOGUE), ylabel="error")
    figure = ax.figure
    figure.draw_without_rendering()
    box = ax.get_legend().get_window_extent()
    assert box.x0 >= ax.get_window_extent().x1
    assert box.x1 <= figure.bbox.x1


def test_error_constants_draw_one_bar_per_scheme_and_block(ax):
    figures.error_constants(ax, ["psld/NSE", "psld/RVV"], {"x": [-0.5, 0.0], "m": [0.02, np.nan]})
    assert [bar.get_width() + bar.get_x() for bar in ax.patches[:1]] == pytest.approx([0.5])
    assert [text.get_text() for text in ax.texts] == ["0.5", "0", "0.02", "none"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["psld/NSE", "psld/RVV"]
    assert texts(ax)[3] == ["block x", "block m"]
    assert ax.yaxis_inverted()  # the first scheme on top


def test_the_image_grid_places_each_picture_and_label(ax):
    images = np.arange(2 * 3).reshape(2, 3, 1, 1) / 5 * np.ones((2, 3, 4, 4))
    figures.image_grid(ax, images, ["RSE", "RVV"], ["10", "20", "50"], title="Samples")
    canvas = ax.images[0].get_array()
    assert canvas.shape == (2 * 5 - 1, 3 * 5 - 1)
    np.testing.assert_array_equal(canvas[5:9, 10:14], images[1, 2])
    assert (canvas[4] == 1).all()
    assert [t.get_text() for t in ax.get_yticklabels()] == ["RSE", "RVV"]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["10", "20", "50"]


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda ax: figures.stability_region(ax, [0, 1], [0, 1, 2], np.ones((2, 3)), title=""),
         r"stability_region: radius has shape \(2, 3\); \(len\(im\), len\(re\)\) = \(3, 2\)"),
        (lambda ax: figures.stability_regions(ax, {}), "no region to draw"),
        (lambda ax: figures.order_star(ax, ([0], [0], [1]), title="s"), r"'s' has shapes \(1,\), \(1,\) and \(1,\)"),
        (lambda ax: figures.spectrum_over_region(ax, [np.ones((2, 2))] * 3, [1], [], title=""), "1 points and 0 times"),
        (lambda ax: figures.stability_interval(ax, [[0.1]], [0, 1], np.ones((2, 1))), r"steps has shape \(1, 1\)"),
        (lambda ax: figures.spectral_radius_curves(ax, [0.1, 0.2], {}), "no curve to draw"),
        (lambda ax: figures.spectral_radius_curves(ax, [0.1], {"a": [1, 2]}), r"radius\['a'\] has shape \(2,\)"),
        (lambda ax: figures.convergence(ax, [0.1, 0.0], {"a": [1, 2]}), "h holds 0 to 0.1; it must be positive"),
        (lambda ax: figures.convergence(ax, [0.1], {"a": [1]}, predicted={"b": [1]}), r"predicted\['b'\] is no label"),
        (lambda ax: figures.work_precision(ax, {"a": [10]}, {"b": [1]}, ylabel=""), "evaluations has no entry for 'b'"),
        (lambda ax: figures.error_constants(ax, ["a", "b"], {"x": [1]}), "has 1 values for 2 labels"),
        (lambda ax: figures.error_constants(ax, ["a"], {}), "no block to draw"),
        (lambda ax: figures.image_grid(ax, np.ones((2, 8, 8))), r"images has shape \(2, 8, 8\)"),
        (lambda ax: figures.image_grid(ax, np.ones((2, 1, 8, 8)), ["a"]), "row_labels has 1 entries; 2 are expected"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_one_sentence(ax, draw, message):
    with pytest.raises(ValueError, match=message) as caught:
        draw(ax)
    assert "\n" not in str(caught.value)


# --- styles ----------------------------------------------------------------------------------------------------------


def test_styles_are_distinct_and_a_catalogue_name_keeps_its_own():
    together = figures.line_styles([*CATALOGUE, *(f"own scheme {i}" for i in range(20))])
    assert len(set(together.values())) == len(CATALOGUE) + 20
    for label in CATALOGUE:
        assert figures.line_styles([label])[label] == together[label]
    assert figures.line_styles(["an own scheme", "psld/RVV"])["psld/RVV"] == together["psld/RVV"]


def test_families_share_a_colour_and_families_differ():
    one = figures.line_styles(CATALOGUE)
    assert one["psld/RSE"].color == one["psld/RVV"].color == one["psld/ROBA"].color
    assert one["psld/NSE"].color != one["psld/RSE"].color


def test_the_style_context_gives_the_settings_back():
    before = dict(matplotlib.rcParams)
    with figures.style():
        assert matplotlib.rcParams["axes.spines.top"] is False
    assert dict(matplotlib.rcParams) == before


# --- files -----------------------------------------------------------------------------------------------------------


def picture():
    with figures.style():
        figure = figures.new_figure()
        figures.convergence(figure.subplots(), STEPS, errors(CATALOGUE), predicted=errors(CATALOGUE[:3]))
    return figure


def test_saving_twice_gives_the_same_bytes_whatever_the_callers_settings(tmp_path):
    first = figures.save(picture(), tmp_path / "a" / "one.png", svg=True)
    with matplotlib.rc_context({"font.size": 20, "savefig.facecolor": "red"}):
        second = figures.save(picture(), tmp_path / "b" / "one.png", svg=True)
    assert [path.name for path in first] == ["one.png", "one.svg"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["one.png", "one.svg"]


def test_a_failure_leaves_the_old_file_and_nothing_half_written(tmp_path, monkeypatch):
    target = tmp_path / "one.png"
    target.write_bytes(b"old")

    def fails(self, *args, format, **keywords):
        if format == "svg":
            raise RuntimeError("no svg today")
        return savefig(self, *args, format=format, **keywords)

    savefig = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", fails)
    with pytest.raises(RuntimeError):
        figures.save(picture(), target, svg=True)
    monkeypatch.undo()

    def refuses(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", refuses)
    with pytest.raises(OSError, match="disk full"):
        figures.save(picture(), target)
    assert [path.name for path in tmp_path.iterdir()] == ["one.png"]
    assert target.read_bytes() == b"old"


def test_only_png_names_are_accepted(tmp_path):
    with pytest.raises(ValueError, match=r"ends in \.png, not 'one\.pdf'"):
        figures.save(picture(), tmp_path / "one.pdf")


def test_figures_load_without_pyplot_or_torch():
    code = "import sys, integrator_analysis.figures; assert not {'matplotlib.pyplot', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
