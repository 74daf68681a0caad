"""Tables about what `vltp check` measured on a GPU."""

from __future__ import annotations

from tables.markdown import measured, ms, read, table

CHECK = "check_h200.json"

TOKENS = 288
"""Of an image and a task in LLaVA's layers after the cached prompt, as the check has them."""

LAYER_PARAMETERS = 32 * (4 * 4096**2 + 3 * 4096 * 11008)
"""Of the matrices in LLaVA-7B's layers."""

WEIGHT_BYTES = {"bfloat16": 2.0, "nf4": 0.516}


def encoder() -> str:
    """Tabulate the encoders against the official ones."""
    answer = read(CHECK)
    rows = [
        [
            row["name"],
            f"{row['rate']:.0%}" if row["rate"] else "dense",
            f"{row['gmacs']:.0f}",
            *(ms(row[key]) for key in ("median_ms", "baseline_ms")),
            f"{row['ratio']:.2f}",
            f"{row['ceiling_share']:.0%}",
        ]
        for row in answer["rows"]
        if " encoder, " in row["name"]
    ]
    head = ["bfloat16", "frozen", "GMACs", "ms", "official ms", "ratio", "of the ceiling"]
    ceiling = f"The ceiling is a product of large matrices, {_tflops(answer):.0f} TFLOP/s"
    return table(head, rows) + measured(answer, ceiling)


def reasoner() -> str:
    """Tabulate LLaVA-7B against transformers' own forward."""
    answer = read(CHECK)
    rows = [
        [
            f"{row['name']}, {row['quantization']}",
            str(row["tasks"]),
            f"{row['average_tokens']:.0f}",
            *(ms(row[key]) for key in ("median_ms", "baseline_ms")),
            f"{row['ratio']:.2f}",
        ]
        for row in answer["rows"]
        if " reasoner, " in row["name"]
    ]
    head = ["", "tasks", "image tokens in a layer", "ms", "transformers ms", "ratio"]
    return table(head, rows) + measured(answer, "One 640x480 image, vision tower included")


def frames() -> str:
    """Tabulate whole images of 1280x720, from pixels to masks."""
    answer, times = read(CHECK), dict[str, dict[float, float]]()
    for row in answer["rows"]:
        if row["name"].startswith("frame 1280x720"):
            name = row["name"].removeprefix("frame 1280x720, ").replace("<SEG>", "`<SEG>`")
            times.setdefault(name, {})[row["rate"]] = row["median_ms"]
    rows = [
        [name, *(ms(row[rate]) if rate in row else "" for rate in (0.0, 0.5, 0.8))]
        for name, row in times.items()
    ]
    head = ["1280x720", "dense, ms", "50%", "80%"]
    return table(head, rows) + measured(answer, "Medians of seven, in turns")


def floors() -> str:
    """Tabulate what was measured beside what the ceilings of the same run allow."""
    answer = read(CHECK)
    tflops, rows = _tflops(answer), []
    for row in answer["rows"]:
        if row["name"] == "vit_h encoder, captured":
            what = f"{row['rate']:.0%} frozen" if row["rate"] else "dense"
            rows.append([f"ViT-H, {what}", ms(row["median_ms"]), ms(2 * row["gmacs"] / tflops)])
    (copy,) = (row["gb_per_s"] for row in answer["rows"] if row["name"] == "ceiling, copy")
    for row in answer["rows"]:
        if row["name"] == "7b reasoner, captured" and (row["csp"], row["tasks"]) == ("off", 1):
            computed = 2 * LAYER_PARAMETERS * TOKENS / tflops / 1e9
            # A copy reads and writes; weights are read.
            fetched = WEIGHT_BYTES[row["quantization"]] * LAYER_PARAMETERS / copy / 1e6
            what = f"LLaVA-7B, {row['quantization']}"
            rows.append([what, ms(row["median_ms"]), ms(max(computed, fetched))])
    return table(["", "ms", "floor, ms"], rows) + measured(answer, "Captured, one task")


def _tflops(answer: dict) -> float:
    """Return what products of large matrices reached."""
    (speed,) = (row["tflops"] for row in answer["rows"] if "tflops" in row)
    return float(speed)
