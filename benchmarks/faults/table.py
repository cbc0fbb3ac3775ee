"""The results as Markdown: what was caught, what was flagged wrongly, and the lists to work with."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from vladata.checks import check_names, find_check
from vladata.finding import Severity
from vladata.text import clip, printable

from .catalogue import MARKERS, PAGE, faults
from .fault import STRENGTHS
from .runner import CleanEpisode, Injected, Results

__all__ = ["alarms", "markdown", "misses", "summary", "write"]

BOTH = (Severity.WARNING, Severity.ERROR)
FAMILIES = ("generated", "sample", "bridge", "g1")


def _family(variant: str) -> str:
    return variant if variant in FAMILIES else "generated"


def _counted(injected: Iterable[Injected]) -> list[Injected]:
    """Injections that there is an answer to: of checks that exist, and not refused by synchronization."""
    names = set(check_names())
    return [i for i in injected if not i.problem and faults()[i.fault].check in names]


def _caught(injected: Sequence[Injected], severity: Severity) -> int:
    return sum(i.severity >= severity for i in injected)


def _of(found: int, total: int) -> str:
    return f"{found} of {total}" if total else "–"


def _percent(found: int, total: int) -> str:
    return f"{100 * found / total:.1f} % ({found} of {total})" if total else "–"


def _interval(found: int, total: int) -> str:
    """The 95 % interval of a share by Wilson's score."""
    z, share = 1.96, found / total
    middle, width = share + z * z / (2 * total), z * (share * (1 - share) / total + z * z / (4 * total * total)) ** 0.5
    low, high = ((middle + sign * width) / (1 + z * z / total) for sign in (-1, 1))
    return f"{100 * max(0.0, low):.1f} to {100 * min(1.0, high):.1f} %"


def _intervals(results: Results) -> Iterator[str]:
    """How far the totals can be trusted."""
    injected, clean = _counted(results.injected), results.clean
    if injected and clean:
        caught = " and ".join(_interval(_caught(injected, s), len(injected)) for s in BOTH)
        flagged = " and ".join(_interval(_flagged(clean, s), len(clean)) for s in BOTH)
        yield "\n95 % intervals of the totals by Wilson's score, at both severities: "
        yield f"caught {caught}; flagged {flagged}. They are too narrow, for the score takes all as independent: the "
        yield "episodes of a group have robot, scene and tasks in common, and each group takes many faults.\n"


def _at_error(results: Results) -> Iterator[str]:
    """At error, only checks of that severity can catch anything."""
    injected = [i for i in _counted(results.injected) if find_check(faults()[i.fault].check).severity is Severity.ERROR]
    if injected:
        yield "\nOf the faults whose check is an error, caught as error: "
        yield f"{_percent(_caught(injected, Severity.ERROR), len(injected))}. The others are meant to be warnings.\n"


def _missed_rows(results: Results) -> Iterator[str]:
    """Everything that was not caught, one line each."""
    missed = [i for i in _counted(results.injected) if i.severity < Severity.WARNING]
    yield "| fault | strength | episode | said instead |\n|---|---|---|---|\n"
    for i in missed:
        said = ", ".join(dict.fromkeys(check for check, _, _ in i.said)) or "nothing"
        yield f"| {i.fault} | {STRENGTHS[i.strength]} | {i.name} | {said} |\n"
    if not missed:
        yield "| none | | | |\n"


def _flagged(clean: Sequence[CleanEpisode], severity: Severity) -> int:
    return sum(any(s[1] >= severity for s in c.said) for c in clean)


def summary(results: Results) -> Iterator[str]:
    """Totals by family, as rows of a table."""
    yield "| family | injected | caught, warning or error | caught, error | clean episodes | flagged, warning or error "
    yield "| flagged, error |\n|---|---|---|---|---|---|---|\n"
    for family in ("all", *FAMILIES):
        injected = [i for i in _counted(results.injected) if family in {"all", _family(i.variant)}]
        clean = [c for c in results.clean if family in {"all", _family(c.variant)}]
        if not clean and not injected:
            continue
        cells = [family, str(len(injected))]
        cells += [_percent(_caught(injected, s), len(injected)) for s in BOTH]
        cells += [str(len(clean)), *(_percent(_flagged(clean, s), len(clean)) for s in BOTH)]
        yield f"| {' | '.join(cells)} |\n"


def _fault_rows(results: Results) -> Iterator[str]:
    names = set(check_names())
    yield "| fault | check | injected | weakest | medium | strong | at error |\n|---|---|---|---|---|---|---|\n"
    for fault in faults().values():
        mine = [i for i in results.injected if i.fault == fault.name and not i.problem]
        if not any(i.fault == fault.name for i in results.injected):
            continue
        if fault.check not in names:
            yield f"| {fault.name} | {fault.check} | {len(mine)} | no such check | | | |\n"
            continue
        by_strength = [[i for i in mine if i.strength == k] for k in range(len(STRENGTHS))]
        cells = [_of(_caught(part, Severity.WARNING), len(part)) for part in by_strength]
        error = _of(_caught(mine, Severity.ERROR), len(mine))
        yield f"| {fault.name} | {fault.check} | {len(mine)} | {' | '.join(cells)} | {error} |\n"


def _check_rows(results: Results) -> Iterator[str]:
    counts: dict[Severity, Counter[str]] = {s: Counter() for s in BOTH}
    for clean in results.clean:
        for severity in BOTH:
            counts[severity].update({s[0] for s in clean.said if s[1] >= severity})
    flagged = sorted(counts[Severity.WARNING])
    total, rest = len(results.clean), len(check_names()) - len(flagged)
    yield "| check | clean episodes flagged, warning or error | error |\n|---|---|---|\n"
    for name in flagged:
        yield f"| {name} | {' | '.join(_of(counts[s][name], total) for s in BOTH)} |\n"
    yield f"| {'each of the other' if flagged else 'each of'} {rest} | 0 of {total} | 0 of {total} |\n"


def _together_rows(results: Results) -> Iterator[str]:
    """What the checks of a whole dataset say of all clean episodes of a kind together."""
    yield "| all clean episodes of a kind as one dataset | episodes | warnings or errors |\n|---|---|---|\n"
    for variant, (count, said) in sorted(results.together.items()):
        found = Counter(s[0] for s in said if s[1] >= Severity.WARNING)
        shown = ", ".join(f"{name} ({number})" for name, number in sorted(found.items()))
        yield f"| {variant} | {count} | {shown or 'none'} |\n"


def _known_rows(results: Results) -> Iterator[str]:
    from .runner import known_defects

    counts: Counter[tuple[str, str]] = Counter()
    for clean in results.clean:
        counts.update({(clean.variant, s[0]) for s in clean.known})
    yield "| recordings | check | episodes | why |\n|---|---|---|---|\n"
    for entry in known_defects():
        count = counts[entry["variant"], entry["check"]]
        if count:
            yield f"| {entry['variant']} | {entry['check']} | {count} | {entry['reason']} |\n"


def markdown(results: Results) -> str:
    """The tables of the page."""
    refused = Counter(i.fault for i in results.injected if i.problem.startswith("refused"))
    parts = [
        f"Half: {results.half}.\n\n",
        *summary(results),
        *_intervals(results),
        *_at_error(results),
        "\n`weakest`, `medium` and `strong` count what was caught as warning or error.\n\n",
        *_fault_rows(results),
        "\nMissed:\n\n",
        *_missed_rows(results),
        "\nFalse alarms:\n\n",
        *_check_rows(results),
        "\nNot counted, for the generated robots differ in more than robots of one kind do:\n\n",
        *_together_rows(results),
        "\nDefects that the clean recordings really have, not counted above:\n\n",
        *_known_rows(results),
    ]
    if refused:
        listed = ", ".join(f"{name} ({count})" for name, count in sorted(refused.items()))
        parts.append(f"\nRefused by synchronization before any check, and not counted: {listed}.\n")
    parts += [f"\nNot run: {reason}.\n" for reason in results.skipped]
    return "".join(parts)


def alarms(results: Results) -> Iterator[str]:
    """Every finding of at least a warning about a clean episode, by check, one line each."""
    lines = [
        (check, clean.name, severity, message)
        for clean in results.clean
        for check, severity, message in clean.said
        if severity >= Severity.WARNING
    ]
    for variant, (_, said) in sorted(results.together.items()):
        lines += [(c, f"all of {variant} together", v, m) for c, v, m in said if v >= Severity.WARNING]
    for check, name, severity, message in sorted(lines):
        yield f"{check} ({severity}) {name}: {_short(message)}"


def misses(results: Results) -> Iterator[str]:
    """Every injection that its check did not speak of as a warning, and what was said instead."""
    names = set(check_names())
    for i in results.injected:
        fault = faults()[i.fault]
        if i.severity >= Severity.WARNING or (fault.check not in names and not i.problem):
            continue
        instead = "; ".join(f"{check} ({severity}) {_short(message)}" for check, severity, message in i.said[:4])
        yield f"{i.fault}, {STRENGTHS[i.strength]}, {i.name}: {i.problem or instead or 'nothing was said'}"


def _short(message: str) -> str:
    return clip(printable(message), 160)


def write(results: Results) -> None:
    """Put the tables into the page, between the markers."""
    text = PAGE.read_text()
    block = f"{MARKERS[0]}\n{markdown(results)}{MARKERS[1]}"
    if MARKERS[0] in text:
        before, _, rest = text.partition(MARKERS[0])
        text = before + block + rest.partition(MARKERS[1])[2]
    else:
        text = f"{text.rstrip()}\n\n## Results\n\n{block}\n"
    PAGE.write_text(text)
