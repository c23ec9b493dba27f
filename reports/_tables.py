"""The numbers behind a plot as a table, and its text for readers who do not see it."""

from __future__ import annotations

from collections.abc import Iterable

from recipe_check.details import Bars, Detail, Histogram, Images, Matrix, Series, Table, thin
from recipe_check.run_report import Layer

from ._text import number, plural, short

ROWS = 12  # rows shown of a long curve
Row = tuple[str | float | int | None, ...]
COLUMNS = 16  # columns shown of a heat map


def as_table(detail: Detail) -> Table | None:
    """None where a table would say nothing (pictures)."""
    if isinstance(detail, Series):
        return _series_table(detail)
    if isinstance(detail, Bars):
        pairs: tuple[Row, ...] = tuple(zip(detail.names, detail.values, strict=False))
        return Table(title=detail.title, columns=("item", detail.value_label), rows=pairs)
    if isinstance(detail, Matrix):
        return _matrix_table(detail)
    if isinstance(detail, Histogram):
        spans: Iterable[Row] = zip(detail.edges, detail.edges[1:], detail.counts, strict=False)
        return Table(title=detail.title, columns=("from", "to", "count"), rows=tuple(spans))
    return None


def _series_table(detail: Series) -> Table:
    """A column for each line where all share their x, else a row for each point."""
    points = [(thin(line.x, ROWS), thin(line.y, ROWS)) for line in detail.lines]
    if points and len(points) <= COLUMNS // 2 and all(x == points[0][0] for x, _ in points):
        columns = (detail.x_label, *(line.name for line in detail.lines))
        shared: Iterable[Row] = zip(points[0][0], *(y for _, y in points), strict=False)
        return Table(title=detail.title, columns=columns, rows=tuple(shared))
    rows: tuple[Row, ...] = tuple(
        (line.name, x, y)
        for line, (xs, ys) in zip(detail.lines, points, strict=True)
        for x, y in zip(xs, ys, strict=False)
    )
    columns = ("line", detail.x_label, detail.y_label)
    return Table(title=detail.title, columns=columns, rows=rows)


def _matrix_table(detail: Matrix) -> Table:
    width = min(max((len(row) for row in detail.values), default=0), COLUMNS)
    columns = (detail.y_label, *map(str, range(width)))
    rows: tuple[Row, ...] = tuple((str(i), *row[:COLUMNS]) for i, row in enumerate(detail.values))
    return Table(title=detail.title, columns=columns, rows=rows)


def numeric(table: Table) -> list[bool]:
    """For each column whether all its cells are numbers (or blank), and at least one is."""
    cells = [[row[i] for row in table.rows if i < len(row)] for i in range(len(table.columns))]
    known = [[cell for cell in column if cell is not None] for column in cells]
    return [bool(column) and not any(isinstance(c, str) for c in column) for column in known]


def alt(detail: Detail, finding: str = "") -> str:
    """What the picture is evidence of, then what it shows, in words with its numbers."""
    said = " ".join(finding.split()).rstrip(".")
    return short(f"{said[:1].upper()}{said[1:]}. {_shows(detail)}" if said else _shows(detail))


def _shows(detail: Detail) -> str:
    if isinstance(detail, Series):
        ends = "; ".join(
            f"{line.name} from {number(line.y[0])} to {number(line.y[-1])}"
            for line in detail.lines
            if line.y
        )
        marks = "; ".join(f"{mark.name} at {number(mark.value)}" for mark in detail.marks)
        return short(f"Line chart: {detail.title}. {ends}. {marks}".rstrip(". ") + ".")
    if isinstance(detail, Bars):
        low, high = min(detail.values, default=0.0), max(detail.values, default=0.0)
        span = f"{plural(len(detail.names), 'item')} from {number(low)} to {number(high)}"
        return short(f"Chart: {detail.title}. {span}.")
    if isinstance(detail, Matrix):
        filled = sum(value > 0 for row in detail.values for value in row)
        total = sum(len(row) for row in detail.values)
        return short(f"Heat map: {detail.title}. {filled} of {total} cells are above zero.")
    if isinstance(detail, Histogram):
        return short(f"Histogram: {detail.title}. {number(sum(detail.counts))} values.")
    if isinstance(detail, Images):
        return short(f"{plural(len(detail.pixels), 'picture')}: {detail.title}.")
    return short(detail.title)


def layer_table(layers: tuple[Layer, ...]) -> Table:
    """The model summary, a row for each leaf module in the order of its first call."""
    columns = (
        "layer", "kind", "output shape", "parameters", "trainable", "activation mean",
        "activation std", "gradient norm",
    )  # fmt: skip
    rows = tuple(
        (
            layer.name or "(the model)",
            layer.kind,
            "\u00a0×\u00a0".join(map(str, layer.output_shape)),
            layer.parameters,
            layer.trainable,
            layer.activation_mean,
            layer.activation_std,
            layer.gradient_norm,
        )
        for layer in layers
    )
    return Table(title="Layers in the order of their first call", columns=columns, rows=rows)
