"""The answer first: findings, where each model is fastest, what changed; then doubts and failures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from bench.core.advice import AdviceKind
from bench.core.claim import ClaimVerdict
from bench.core.comparison import ComparisonVerdict
from bench.core.environment import Environment
from bench.core.record import Outcome
from bench.core.units import counted, format_bytes, format_count
from bench.report.html.contract import ReportData, Section
from bench.report.html.groups import grouped, run_names
from bench.store.stored import StoredRun
from bench.tables.advice import advice_sentences, marks, short_advice
from bench.tables.cell_values import outcome_text, peak_bytes
from bench.tables.comparison import headline, reason_text, short_names, summary
from bench.tables.document import Rows
from bench.tables.figures import first, name, seconds_text, words
from bench.tables.run import findings, model_findings
from bench.tables.table import Column

_MOST_FAILURES = 12
_MOST_CHANGES = 8
_MOST_MODELS = 40


def build(data: ReportData) -> Mapping[str, Any]:
    """Summarise the newest run in few lines."""
    newest = max((row.run for row in data.rows), default=0)  # older runs are compared with it, in another section
    records = [row.record for row in data.rows if row.run == newest]
    summaries = [row.summary for row in data.rows if row.run == newest]
    run = data.runs[0].id if len(data.runs) == 1 else "RUN"
    short = dict(short_advice(data.records, run))
    doubts = [(mark, words(short[mark]), words(text)) for mark, text in advice_sentences(data.records, run)]
    failures = [
        (name(row.record.cell.id), words(text)) for row in data.rows if (text := outcome_text(row.record)) is not None
    ]
    failures += [(name(cell.id), "never finished: no record") for run in data.runs for cell in run.missing]
    failures += [(name(run.id), words(problem)) for run in data.runs for problem in run.problems]
    shown, more = first(failures, _MOST_FAILURES, "of them")
    changes, more_changes = first(_changes(data), _MOST_CHANGES, "changes")
    measured = _headline(data)
    found = [words(sentence) for sentence in findings(records, summaries)]
    return {
        "headline": _sentence(found[0]) if found else measured,
        "counted": measured if found else "",
        "found": found[1:],
        "models": [(name(model), words(text)) for model, text in model_findings(records, summaries)[:_MOST_MODELS]],
        "machines": list(dict.fromkeys(_machine(run.environment) for run in data.runs if run.environment)),
        "runs": [_run(run) for run in data.runs],
        "cards": _cards(data),
        "doubts": doubts,
        "failures": shown,
        "more_failures": more,
        "changes": changes,
        "more_changes": more_changes,
        "best": _best_table(data),
    }


SECTION = Section(anchor="answer", title="The answer", build=build)


def _headline(data: ReportData) -> str:
    compared = [headline(run.comparison.comparisons, run.comparison.heading) for run in data.runs if run.comparison]
    if compared and not data.rows:
        return compared[0]
    models = {row.record.cell.model for row in data.rows}
    outcomes = Counter(row.record.outcome for row in data.rows)
    missing = sum(len(run.missing) for run in data.runs)
    good, total = outcomes[Outcome.OK], len(data.rows) + missing
    busy = sum(any(one.kind is AdviceKind.BUSY_MACHINE for one in row.record.advice) for row in data.rows)
    busily = f"{'' if busy == good else f', {busy:,}'} on a busy machine" if busy else ""
    of = f"of {counted(len(models), 'model')}"
    cases = sum(len(run.generations) + len(run.images) for run in data.runs)
    if not total and cases:
        return f"{counted(cases, 'combination')} of generating text or sampling images measured"
    if not total:
        return "Nothing was measured"
    if good == total:
        return f"{counted(total, 'cell')} {of}, all measured{busily}"
    rest = [f"{n} {o.value.replace('_', ' ')}" for o, n in outcomes.items() if o is not Outcome.OK]
    rest += [f"{missing:,} never finished"] if missing else []
    return f"{good:,} of {counted(total, 'cell')} {of} measured{busily}; {', '.join(rest)}"


def _sentence(text: str) -> str:
    """Begin a sentence with a capital letter, but for the name of a precision: `bf16-amp is slower`."""
    return f"{text[0].upper()}{text[1:]}" if text.startswith(("the ", "a ")) else text


def _machine(environment: Environment) -> str:
    facts = [
        environment.gpu,
        environment.cpu,
        counted(environment.cores, "core"),
        format_bytes(environment.memory_bytes),
        f"torch {environment.torch}",
        f"Python {environment.python}",
    ]
    return " · ".join(name(fact) for fact in facts if fact)


def _run(run: StoredRun) -> dict[str, str]:
    program, *options = run.info.command or ("",)
    typed = " ".join([program.rsplit("/", 1)[-1], *options])
    started = run.info.started_at.replace("T", " ").replace("+00:00", " UTC")
    return {"id": name(run.id), "started": name(started), "typed": words(typed)}


def _cards(data: ReportData) -> list[dict[str, str]]:
    """Make the tiles: a number, what it counts, where it is explained, and whether it is good or bad news."""
    cards = []
    if data.rows:
        doubted = sum(bool(row.record.advice) for row in data.rows)
        outcomes = Counter(row.record.outcome for row in data.rows)
        measured, skipped = outcomes[Outcome.OK], outcomes[Outcome.SKIPPED]
        failed = len(data.rows) - measured - skipped + sum(len(run.missing) for run in data.runs)
        cards += [
            _card(measured, "measured", "cells", ""),
            *([_card(skipped, "skipped", "failures", "")] if skipped else []),
            *([_card(failed, "not measured", "failures", "bad")] if failed else []),
            _card(doubted, "with a doubt", "doubts" if doubted else "", "doubt" if doubted else "good"),
        ]
    for run in data.runs:
        if run.comparison:
            slower = sum(c.verdict is ComparisonVerdict.SLOWER for c in run.comparison.comparisons)
            text = f"slower, {summary(run.comparison.comparisons).partition(': ')[0]} compared"
            cards.append(_card(slower, text, "verdicts", "bad" if slower else "good"))
    claims = data.claims
    if claims:
        verdicts = Counter(checked.verdict for checked in claims)
        errata = verdicts[ClaimVerdict.ERRATUM]
        text = f"of {len(claims)} claims hold" + (f", {counted(errata, 'erratum', 'errata')}" if errata else "")
        tone = "bad" if verdicts[ClaimVerdict.MISMATCH] else "good"
        cards.append(_card(verdicts[ClaimVerdict.MATCH], text, "claims", tone))
    return cards


def _card(number: int, text: str, anchor: str, tone: str) -> dict[str, str]:
    return {"number": f"{number:,}", "text": text, "anchor": anchor, "tone": tone}


def _changes(data: ReportData) -> list[str]:
    """List the verdicts of `bench ab` that say slower or faster; stored runs have a separate section."""
    found = []
    for run in data.runs:
        if run.comparison:
            names, _ = short_names([c.cell_id for c in run.comparison.comparisons])
            found += [
                f"{name(cell)}: {c.verdict.value.upper()}: {words(reason_text(c))}"
                for cell, c in zip(names, run.comparison.comparisons, strict=True)
                if c.verdict in (ComparisonVerdict.SLOWER, ComparisonVerdict.FASTER)
            ]
    return found


def _best_table(data: ReportData) -> Rows | None:
    """Return where each model does the most examples per second."""
    groups = grouped(data, lambda row: row.summary.examples_per_second is not None)
    if not groups:
        return None
    groups = groups[:_MOST_MODELS]
    best = [max(group.rows, key=lambda row: row.summary.examples_per_second or 0.0) for group in groups]
    parameters = [row.record.counters.parameters for row in best]
    peaks = [peak_bytes(row.record) for row in best]
    runs = run_names(data)
    columns = [
        Column(name="model", cells=tuple(group.title for group in groups), right=False),
        Column(name="examples/s", cells=tuple(format_count(row.summary.examples_per_second) for row in best)),
        Column(name="step", cells=tuple(seconds_text(row.summary.step) for row in best)),
        *([Column(name="run", cells=tuple(runs[row.run] for row in best), right=False)] if any(runs) else []),
        Column(name="at batch", cells=tuple(str(row.record.cell.batch_size) for row in best)),
        Column(name="precision", cells=tuple(row.record.cell.precision.value for row in best), right=False),
        Column(name="doubts", cells=tuple(marks(row.record) for row in best), right=False),
        Column(name="peak", cells=tuple(f"{mark}{format_bytes(value)}" for value, mark in peaks)),
        Column(name="parameters", cells=tuple("-" if n is None else f"{n:,}" for n in parameters)),
    ]
    tried = {row.record.cell.batch_size for group in groups for row in group.rows}
    largest = f"; the largest batch tried is {max(tried)}" if len(tried) > 1 else ""
    return Rows(columns=columns, caption=f"Where each model does the most examples per second{largest}")
