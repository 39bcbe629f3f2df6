"""The layers of a variant on the console: the worst by name, and a heat map of all."""

from __future__ import annotations

import statistics

from rich.markup import escape
from rich.table import Table

from quantbento.judging.report.console import wide_console
from quantbento.making.sensitivity.rows import LayerCost, Sensitivity

WORST = 10
SHADES = " ░▒▓█"  # from the least noise to the most


def print_sensitivity(found: Sensitivity) -> None:
    """Prints the worst layers, a heat map where layers repeat in blocks, and how it was measured."""
    console = wide_console()
    table = Table(title=f"{found.recipe}: layers of {found.variant}", title_justify="left", pad_edge=False)
    table.add_column("layer", overflow="fold")
    for heading in ("SQNR dB", f"{found.metric} lost", "weights", "max |x|", "outliers"):
        table.add_column(heading, justify="right")
    for layer in found.worst()[:WORST]:
        table.add_row(*_cells(layer))
    table.add_section()
    table.add_row(
        "all layers together", _number(found.whole.get("sqnr_db")), _loss(found.whole.get("drop")), "", "", ""
    )
    console.print(table)
    if heat := heat_map(found):
        console.print("SQNR in dB of the outputs with one layer quantized, darker where it is lower", highlight=False)
        console.print(heat)
    if found.attention:
        worst = min(found.attention, key=lambda layer: layer["similarity"])
        mean = statistics.fmean(layer["similarity"] for layer in found.attention)
        console.print(
            f"attention: mean cosine {mean:.4f} of {len(found.attention)} layers; the lowest is "
            f"{worst['similarity']:.4f} in layer {worst['layer']}",
            highlight=False,
        )
    failed = [layer for layer in found.layers if layer.error]
    for layer in failed[:WORST]:
        console.print(f"not measured: {layer.module}: {layer.error}", highlight=False, markup=False)
    for note in (f"measured: {found.measured}; {found.samples} samples", *found.notes):
        console.print(note, highlight=False, markup=False)


def heat_map(found: Sensitivity) -> Table | None:
    """SQNR in dB by block and kind of layer, darker where there is more noise. None where there are no blocks."""
    cells: dict[tuple[str, str], float] = {}
    for layer in sorted(found.layers, key=lambda layer: layer.order):
        if layer.block and layer.sqnr_db is not None:
            place = layer.block, layer.kind
            cells[place] = min(layer.sqnr_db, cells.get(place, layer.sqnr_db))
    blocks, kinds = ([*dict.fromkeys(place[axis] for place in cells)] for axis in (0, 1))
    if len(blocks) < 2:
        return None
    low, high = min(cells.values()), max(cells.values())
    table = Table(pad_edge=False)
    table.add_column("")
    for kind in kinds:
        table.add_column(escape(kind), justify="right", overflow="fold")
    for block in blocks:
        table.add_row(escape(block), *(_shaded(cells.get((block, kind)), low, high) for kind in kinds))
    return table


def _shaded(value: float | None, low: float, high: float) -> str:
    if value is None:
        return ""
    share = (high - value) / (high - low) if high > low else 0.0
    return f"{value:.0f} {SHADES[round(share * (len(SHADES) - 1))] * 2}"


def _cells(layer: LayerCost) -> list[str]:
    seen = layer.activation or {}
    largest, ratio = seen.get("max_abs"), seen.get("outlier_ratio")
    return [
        escape(layer.module),  # [qkv]_proj
        _number(layer.sqnr_db),
        _loss(layer.drop),
        f"{layer.parameters:,}",
        "" if largest is None else f"{largest:.3g}",
        "" if ratio is None else f"{ratio:.3g}x",
    ]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _loss(value: float | None) -> str:
    return "-" if value is None else f"{value:.2g}"
