"""Write bench/claims/timm.toml: what timm publishes of its models, held against what stepbench counts.

    python benchmarks/make_timm_claims.py PUBLISHED.csv [--every N] [--output FILE]

PUBLISHED.csv has the columns model, image_size, parameters_millions and forward_gmacs, taken from
results/benchmark-infer-amp-nchw-pt240-cu124-rtx3090.csv of huggingface/pytorch-image-models at commit aa4b5850c154.

timm's GMACs come from fvcore, which counts more than multiply-accumulates: 2 for each element that a batch norm puts
out, 5 (4 without weights) for each of a layer, group or instance norm (and of a batch norm by the batch's own
statistics, as weight standardisation uses it), 1 for each that an adaptive average pooling takes in, 1 or 4 for each
that an upsampling puts out; and it does not see fused attention, recurrent layers, nor a convolution whose padding is
the word "same". Each share is counted here by the operations that run. Where our count with such shares is what is
published to its last digit, the claim holds our count as an erratum with the shares named; any other row is listed as
open, with both values and what is known of the cause.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import multiprocessing
import time
from collections import Counter
from pathlib import Path
from typing import Any

GMAC = 1_000_000_000
UNSEEN = ("fused attention", "convolutions padded 'same'", "recurrent layers")
GLOBAL = "global pooling"
CAUSES = {
    "ecaresnext50t_32x4d": "what is published is its model of 26 layers, which this name built until timm mended it",
    "tnt_b_patch16_224": "timm has changed the model since: it has other parameters today",
    "vit_so150m_patch16_reg4_map_256": "no cause found; fvcore 0.1.5 says 34.9883 of the model of today",
}
"""What is known of rows that no share explains."""
STEP = 10_000_000  # one of the last digit of a GMACs
PARAMETER_STEP = 10_000
HEAD = """\
# What timm publishes of its models: millions of parameters and forward GMACs of one example, both to two decimals.
# Written by benchmarks/make_timm_claims.py from results/benchmark-infer-amp-nchw-pt240-cu124-rtx3090.csv of
# huggingface/pytorch-image-models at commit aa4b5850c154; do not edit. timm counts with fvcore, which adds
# normalisation, pooling and upsampling to the multiply-accumulates of products and convolutions: where that
# is the whole difference,
# the claim has our own count as an erratum with the shares named.
"""


def call_counter(found: Counter[str]) -> Any:
    """Make a mode that counts what only the call shows: below autograd a global pooling is a mean."""
    import torch
    from torch.overrides import TorchFunctionMode

    class Calls(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            if func is torch.nn.functional.adaptive_avg_pool2d and result.shape[-2:] == (1, 1):
                found[GLOBAL] += args[0].numel()
            elif func in (torch.conv1d, torch.conv2d) and "same" in [one for one in args if isinstance(one, str)]:
                found["convolutions padded 'same'"] += result.numel() * args[1][0].numel()
            return result

    return Calls()


def share_counter() -> Any:
    """Make a mode that counts, by cause, what fvcore adds to multiply-accumulates."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Shares(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self.found: Counter[str] = Counter()

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            name = func.overloadpacket._qualified_op_name.removeprefix("aten::")
            first = result[0] if isinstance(result, tuple | list) else result
            if "batch_norm" in name:
                is_training = "no_training" not in name and args[5] is True  # weight standardisation
                each = (5, 4) if is_training else (2, 1)
                self.found["batch norm"] += each[args[1] is None] * first.numel()
            elif name == "native_layer_norm":
                self.found["layer norm"] += (5 if args[2] is not None else 4) * first.numel()
            elif name == "native_group_norm":
                self.found["group norm"] += (5 if args[1] is not None else 4) * first.numel()
            elif name == "_adaptive_avg_pool2d":
                self.found["adaptive pooling"] += args[0].numel()
            elif name.startswith("upsample_bilinear2d"):
                self.found["upsampling"] += 4 * first.numel()
            elif name.startswith("upsample_nearest2d"):
                self.found["upsampling"] += first.numel()
            elif name.startswith("_scaled_dot_product"):
                batch, heads, queries, width = args[0].shape
                self.found["fused attention"] += batch * heads * queries * args[1].shape[2] * (width + args[2].shape[3])
            return result

    return Shares()


def measure(row: dict[str, str]) -> dict[str, Any]:
    """Count one row of the table on meta."""
    import torch

    from bench.core.cell import Mode
    from bench.counters.build import on_meta
    from bench.counters.flops import count_workload
    from bench.registry import resolve

    torch.set_num_threads(1)
    size, began = int(row["image_size"]), time.process_time()
    try:
        workload = resolve(f"timm:{row['model']}", input_shape=(3, size, size))
        counters, _ = count_workload(workload, mode=Mode.INFER, batch_size=1, opinions=False)
    except Exception as error:  # noqa: BLE001 - the row is listed as open
        return {**row, "error": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}
    flops = counters.flops
    found: dict[str, Any] = {**row, "parameters": counters.parameters}
    if flops is not None and flops.forward is not None:
        found |= {"macs": flops.forward / 2, "uncounted": [name for name, _ in flops.uncounted]}
    try:
        model = on_meta(workload.build_model).eval()
        with torch.no_grad(), share_counter() as shares, call_counter(shares.found):
            model(torch.empty(1, 3, size, size, device="meta"))
        recurrent = [one.flops_forward or 0 for one in counters.layers if one.type in ("GRU", "LSTM", "RNN")]
        found["shares"] = dict(shares.found) | ({"recurrent layers": sum(recurrent) // 2} if recurrent else {})
    except Exception as error:  # noqa: BLE001 - the difference is listed as open
        found["shares_error"] = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return found | {"seconds": time.process_time() - began}


def agrees(value: float, published: float, step: float) -> bool:
    """Tell whether a value rounds to the published one."""
    return abs(value - published) <= step / 2 * (1 + 1e-9)


def explained(found: dict[str, Any], published: int) -> str | None:
    """Name the shares that make our count the published one; None where none do."""
    shares = found.get("shares", {})
    added = {name: count for name, count in shares.items() if name not in (*UNSEEN, GLOBAL)}
    unseen = {name: shares[name] for name in UNSEEN if name in shares}
    pooled = {GLOBAL: shares[GLOBAL]} if GLOBAL in shares else {}
    for more, without in ((more, without) for more in ({}, pooled) for without in ({}, unseen)):
        total = found["macs"] + sum(added.values()) + sum(more.values()) - sum(without.values())
        if agrees(total, published, STEP):
            words = [f"{name} {count / GMAC:.4f}" for name, count in (added | more).items()]
            words += [f"{name}, which it does not see, -{count / GMAC:.4f}" for name, count in without.items()]
            return (
                f"fvcore's GMACs hold more than products and convolutions ({found['macs'] / GMAC:.4f}): "
                f"{', '.join(words)}; together {total / GMAC:.4f}"
            )
    return None


def claims(measured: list[dict[str, Any]]) -> tuple[list[str], list[str], Counter[str]]:
    """Write the claims, one a line; the rows that are open; how many are which."""
    lines, is_open, tally, seen = [], [], Counter[str](), set()
    for one in measured:
        name, size = one["model"], int(one["image_size"])
        where = f"{name} at {size}"
        if "error" in one:
            tally["not counted"] += 1
            is_open.append(f"{where}: not counted: {one['error']}")
            continue
        head = f'model = "timm:{name}", input_shape = [3, {size}, {size}], '
        parameters = round(float(one["parameters_millions"]) * 100) * PARAMETER_STEP
        if name not in seen:
            seen.add(name)
            if agrees(one["parameters"], parameters, PARAMETER_STEP):
                tally["parameters match"] += 1
                lines.append(
                    f'{{ id = "{name}.parameters", {head}quantity = "parameters", '
                    f"value = {parameters}, rounded_to = {PARAMETER_STEP} }}"
                )
            else:
                tally["parameters differ"] += 1
                cause = f"; {CAUSES[name]}" if name in CAUSES else ""
                is_open.append(f"{where}: parameters {parameters:,} published, {one['parameters']:,} counted{cause}")
        macs = round(float(one["forward_gmacs"]) * 100) * STEP
        if "macs" not in one or macs == 0:
            tally["GMACs not comparable"] += 1
            is_open.append(f"{where}: GMACs {one['forward_gmacs']} published, counted {one.get('macs')}")
            continue
        claim = f'id = "{name}.{size}.macs", {head}quantity = "macs_forward", value = {macs}, rounded_to = {STEP}'
        if agrees(one["macs"], macs, STEP):
            tally["GMACs match"] += 1
            lines.append(f"{{ {claim} }}")
            continue
        reason = explained(one, macs)
        if reason is None:
            tally["GMACs open"] += 1
            is_open.append(
                f"{where}: GMACs {one['forward_gmacs']} published, {one['macs'] / GMAC:.4f} counted; "
                + CAUSES.get(name, f"shares {json.dumps(one.get('shares', one.get('shares_error')))}")
            )
            continue
        tally["GMACs by fvcore's shares"] += 1
        exact = math.floor(one["macs"]) if one["macs"] == math.floor(one["macs"]) else one["macs"]
        lines.append(f'{{ {claim}, erratum = {{ measured = {exact}, reason = "{reason}" }} }}')
    return lines, is_open, tally


def main() -> None:
    """Count, compare and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("published", type=Path)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--seconds", type=float, default=math.inf, help="Begin no other row after this long.")
    parser.add_argument("--measured", type=Path, help="JSON lines: rows in it are not measured again, new ones added.")
    arguments = parser.parse_args()
    rows = list(csv.DictReader(arguments.published.open(encoding="utf-8")))[:: arguments.every]
    began = time.perf_counter()
    import timm  # noqa: F401 - the workers are forked from here
    import torch  # noqa: F401

    kept: Path | None = arguments.measured
    measured = [json.loads(line) for line in kept.read_text().splitlines()] if kept and kept.exists() else []
    known = {(one["model"], one["image_size"]) for one in measured}
    missing = [row for row in rows if (row["model"], row["image_size"]) not in known]
    first = {row["model"]: row["image_size"] for row in reversed(missing)}  # one size of every model, then the others
    missing.sort(key=lambda row: first[row["model"]] != row["image_size"])
    with multiprocessing.get_context("fork").Pool(2, maxtasksperchild=100) as pool:
        for number, one in enumerate(pool.imap_unordered(measure, missing), start=1):
            measured.append(one)
            if kept:
                with kept.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(one) + "\n")
            if number % 50 == 0:
                print(f"{number} of {len(missing)}, {time.perf_counter() - began:.0f} s", flush=True)
            if time.perf_counter() - began > arguments.seconds:
                break
    measured.sort(key=lambda one: (one["model"], int(one["image_size"])))
    lines, is_open, tally = claims(measured)
    listed = "".join(f"# open: {line}\n" for line in is_open)
    body = ",\n".join(f"    {line}" for line in lines)
    place = "huggingface/pytorch-image-models, results/benchmark-infer-amp-nchw-pt240-cu124-rtx3090.csv"
    head = f"{HEAD}# {len(measured)} of the {len(rows)} rows were counted, {tally['parameters match']} models.\n"
    text = f'{head}{listed}\nclaim = [\n{body},\n]\n\n[document]\ntitle = "timm"\nplace = "{place}"\n'
    if arguments.output:
        arguments.output.write_text(text, encoding="utf-8")
    cpu = sum(one.get("seconds", 0) for one in measured)
    print(listed, dict(tally), f"{time.perf_counter() - began:.0f} s, {cpu:.0f} s of CPU")


if __name__ == "__main__":
    main()
