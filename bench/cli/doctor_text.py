"""What `bench doctor` prints for people."""

from __future__ import annotations

import textwrap

from bench.core.environment import Environment
from bench.core.units import counted, format_bytes, format_seconds
from bench.runner.doctor import Diagnosis


def doctor_text(diagnosis: Diagnosis) -> str:
    """Write a diagnosis in lines of at most 80 columns where names allow."""
    cpu = diagnosis.environments[0]
    lines = [
        f"Machine      {cpu.cpu}, {cpu.cores} cores, {format_bytes(cpu.memory_bytes)}, {cpu.os}",
        f"Software     Python {cpu.python}, torch {cpu.torch}, torchvision {cpu.torchvision or '-'}",
        f"Fingerprint  {cpu.fingerprint} (only equal ones are compared)",
        f"Settings     {counted(cpu.threads, 'thread')}" + "".join(f", {name}={value}" for name, value in cpu.malloc),
    ]
    for environment in diagnosis.environments:
        lines += _device_lines(environment, diagnosis)
    if diagnosis.nvml:
        lines.append(f"NVML         {diagnosis.nvml}")
    if diagnosis.torchvision:
        lines.append(f"torchvision  {diagnosis.torchvision}")
    busy = diagnosis.state.other_busy_cores
    ratio = diagnosis.spawned_call_seconds / diagnosis.forked_call_seconds
    cell_ratio = diagnosis.spawned_cell_overhead_seconds / diagnosis.cell_overhead_seconds
    lines += [
        f"Load         {'-' if busy is None else f'{busy:.2f}'} cores busy with other work",
        f"Process      {format_seconds(diagnosis.forked_call_seconds)} for a fresh process with torch, "
        f"{ratio:.0f} x cheaper than a new interpreter",
        f"Cell         {format_seconds(diagnosis.cell_overhead_seconds)} beside its timed steps, record on disk, "
        f"{cell_ratio:.0f} x cheaper than spawned",
    ]
    lines += [f"Doubt        {doubt}" for doubt in diagnosis.doubts] or [
        "Verdict      nothing speaks against measuring"
    ]
    indent = " " * 13
    return "\n".join(
        textwrap.fill(line, 80, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
        for line in lines
    )


def _device_lines(environment: Environment, diagnosis: Diagnosis) -> list[str]:
    index = diagnosis.environments.index(environment)
    device = "cpu" if index == 0 else f"cuda:{index - 1}"
    name = environment.gpu if environment.gpu else "CPU"
    able = [precision for where, precision, reason in diagnosis.precisions if where == device and reason is None]
    unable = [(precision, reason) for where, precision, reason in diagnosis.precisions if where == device and reason]
    return [
        f"{device:12} {name}: {', '.join(able)}",
        *(f"             not {precision}: {reason}" for precision, reason in unable),
    ]
