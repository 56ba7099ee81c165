"""Look at the machine, in a process that imports torch and little else, because somebody waits for the answer."""

from __future__ import annotations

from bench.core.cell import Precision
from bench.core.errors import UsageError
from bench.device.backend import all_devices, backend_of, counters_problem, why_not
from bench.device.environment import read_environment
from bench.runner.workers.answers import Examination


def examine() -> Examination:
    """Read the environment of each device, and what it can compute in."""
    devices, problems = [], []
    for device in all_devices():
        try:
            backend_of(device).start()
        except UsageError as error:
            problems.append(str(error))
        else:
            devices.append(device)
    environments = tuple(read_environment(device) for device in devices)
    return Examination(
        environments=environments,
        precisions=tuple((device, p.value, why_not(device, p)) for device in devices for p in Precision),
        nvml=counters_problem(),
        states=tuple(
            backend_of(device).state(found.gpu_uuid) for device, found in zip(devices, environments, strict=True)
        ),
        problems=tuple(problems),
    )
