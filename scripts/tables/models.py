"""Tables about models, encoders and language models."""

from __future__ import annotations

from tables.markdown import RESULTS, device, measured, mib, ms, read, table
from vltp_ros.evaluation.words import SELECTORS


def accuracy() -> str:
    """Tabulate accuracy on scenes with looks and phrasings seen in training, and unseen ones."""
    test, uncommon = (read(f"tabletop_{split}.json") for split in ("test", "uncommon"))
    rows = [
        [
            SELECTORS[row["selector"]],
            f"{row['rate']:.0%}" if row["rate"] else "",
            *(f"{split[key]:.3f}" for split in (row, uncommon_row) for key in ("giou", "ciou")),
            f"{row['gmacs']:.2f}",
        ]
        for row, uncommon_row in zip(test["rows"], uncommon["rows"], strict=True)
    ]
    head = ["tokens", "frozen", "gIoU", "cIoU", "uncommon gIoU", "uncommon cIoU", "GMACs"]
    return table(head, rows) + measured(test, f"{test['rows'][0]['count']} scenes each")


FAMILIES = {
    "all": "all questions",
    "A": "A, the best thing present",
    "B": "B, states",
    "B+C": "B and C",
    "C": "C, comparison, colour, negation",
    "D": "D, relations",
    "E": "E, nothing serves",
}


def crowded() -> str:
    """Tabulate a model on crowded scenes by family, and what is left without the image."""
    answer = read("crowded_val.json")
    dense = [row for row in answer["rows"] if row["selector"] == "keep_all"]
    controls = ("none", "grey", "swapped")
    by_family = {(row["family"], row["control"]): row for row in dense}
    rows = [
        [words, str(by_family[family, "none"]["count"]),
         *(f"{by_family[family, control]['giou']:.3f}" for control in controls)]
        for family, words in FAMILIES.items()
    ]  # fmt: skip
    head = ["family", "questions", "gIoU", "LLaVA sees grey", "LLaVA sees another scene"]
    return table(head, rows) + measured(answer, "Scenes of val, SAM dense")


def methods() -> str:
    """Tabulate the paper's Table 7 on tabletop scenes."""
    answer = read("baselines.json")
    rows = [
        [r["method"], f"{r['rate']:.0%}" if r["rate"] else "", f"{r['giou']:.3f}",
         f"{r['ciou']:.3f}", f"{r['gmacs']:.2f}",
         f"{r['vltp_gain']:+.3f} ± {r['vltp_gain_error']:.3f}"
         if r.get("vltp_gain") is not None else ""]
        for r in answer["rows"]
    ]  # fmt: skip
    head = ["method", "tokens saved", "gIoU", "cIoU", "GMACs", "VLTP's gain at no more GMACs"]
    return table(head, rows) + measured(answer, f"{answer['rows'][0]['count']} scenes")


def encoder() -> str:
    """Tabulate the encoder against the official one, on a CPU."""
    answers = [read(path.name) for path in sorted(RESULTS.glob("encoder_*_cpu_*.json"))]
    rows = [
        [
            row["name"],
            row["dtype"],
            f"{row['rate']:.0%}" if row["rate"] else "dense",
            "" if row["gmacs"] is None else f"{row['gmacs']:.0f}",
            *(ms(row[key]) for key in ("median_ms", "baseline_ms")),
            f"{row['ratio']:.2f}",
            *(mib(row[key]) for key in ("peak_mib", "baseline_peak_mib")),
            device(answer),
        ]
        for answer in answers
        for row in answer["rows"]
    ]
    head = ["", "computed in", "frozen", "GMACs", "ms", "official ms", "ratio", "MiB"]
    return table([*head, "official MiB", "on"], rows)


def frames() -> str:
    """Tabulate whole images, from pixels to masks."""
    answer = read("check_cpu.json")
    rows = [
        [
            row["name"].removeprefix("frame ").replace("<SEG>", "`<SEG>`"),
            f"{row['rate']:.0%}" if row["rate"] else "dense",
            ms(row["median_ms"]),
            "" if row["ratio"] is None else f"{row['ratio']:.2f}",
            ", ".join(f"{stage} {ms(value)}" for stage, value in row["stages_ms"].items()),
        ]
        for row in answer["rows"]
        if row["name"].startswith("frame ")
    ]
    head = ["frame", "frozen", "ms", "times as fast as dense", "stages, ms"]
    return table(head, rows) + measured(answer, "Medians of seven, in turns")


def csp() -> str:
    """Tabulate LVLM_CSP on tabletop scenes."""
    answer = read("tabletop_csp.json")
    rows = [
        [
            SELECTORS[r["selector"]],
            f"{r['rate']:.0%}" if r["rate"] else "",
            {"off": "all"}.get(r["csp"], f"preset {r['csp']}"),
            f"{r['giou']:.3f}",
            f"{r['ciou']:.3f}",
        ]
        for r in answer["rows"]
    ]
    head = ["SAM's tokens", "frozen", "LLaVA's tokens", "gIoU", "cIoU"]
    return table(head, rows) + measured(answer, f"{answer['rows'][0]['count']} test scenes")


def attention() -> str:
    """Tabulate attention-guided pruning on tabletop scenes."""
    answer = read("tabletop_attention.json")
    rows = [
        [SELECTORS[r["selector"]], f"{r['rate']:.0%}", f"{r['giou']:.3f}", f"{r['ciou']:.3f}"]
        for r in answer["rows"]
    ]
    head = ["ranked by", "frozen", "gIoU", "cIoU"]
    return table(head, rows) + measured(answer, f"{answer['rows'][0]['count']} test scenes")


def reasoner_speed() -> str:
    """Tabulate LLaVA against transformers' own forward."""
    answers = [read(path.name) for path in sorted(RESULTS.glob("reasoner_*.json"))]
    rows = [
        [
            f"{row['name']}, {answer['quantization']}",
            str(row["tasks"]),
            f"{row['average_tokens']:.0f}",
            *(ms(row[key]) for key in ("median_ms", "baseline_ms")),
            f"{row['ratio']:.2f}",
            *(mib(peak) for peak in (row["peak_mib"], answer["load_peak_mib"])),
            device(answer),
        ]
        for answer in answers
        for row in answer["rows"]
    ]
    head = ["", "tasks", "image tokens in a layer", "ms", "transformers ms", "ratio", "MiB"]
    return table([*head, "MiB to load", "on"], rows)


KINDS = {"found": "a mask", "nothing": "nothing serves", "instance": "an instance"}


def reliability() -> str:
    """Tabulate how often answers are right by how sure they are."""
    answer = read("reliability.json")
    rows = [
        [KINDS[row["answer"]], f"{one['score']:.2f}", f"{one['right']:.2f}", str(one["count"])]
        for row in answer["reliability"]
        for one in row["bins"]
    ]
    errors = ", ".join(
        f"{KINDS[row['answer']]} {row['error']:.3f}" for row in answer["reliability"]
    )
    line = f"{answer['scenes']} scenes of {answer['split']}; expected calibration error: {errors}"
    return table(["answer", "score", "right", "answers"], rows) + measured(answer, line)


def instances() -> str:
    """Tabulate how often instances are the objects that serve a task."""
    answer = read("reliability.json")
    keys = ("precision", "recall", "right", "several_right")
    rows = [
        [
            "by mask and depth" if row["depth"] else "by mask",
            *(f"{row[key]:.3f}" for key in keys),
            str(row["questions"]),
            str(row["several"]),
        ]
        for row in answer["instances"]
    ]
    head = ["apart", "are an object", "of the objects", "as many", "as many, of several"]
    return table([*head, "questions", "with several"], rows)
