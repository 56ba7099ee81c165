"""Where something was measured, for people: every field of an environment as text."""

from __future__ import annotations

from dataclasses import fields

from bench.core.environment import Environment
from bench.core.units import format_bytes
from bench.tables.figures import words


def environment_texts(environment: Environment) -> dict[str, str]:
    """Write every field as text by its name; settings and flags one by one."""
    texts = {"fingerprint": environment.fingerprint}
    for field in fields(Environment):
        value = getattr(environment, field.name)
        if field.name in ("malloc", "flags", "variables", "gpu_settings"):
            texts |= {f"{field.name} {key}": words(setting) for key, setting in value or ()}
        elif field.name.endswith("_bytes"):
            texts[field.name.removesuffix("_bytes")] = format_bytes(value)
        elif value is not None:
            texts[field.name] = words(str(value))
    return texts
