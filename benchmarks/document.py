"""Writes docs/benchmarks.md: one section per benchmark, replaced when that benchmark runs again."""

import os
import platform
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.month import month_description
from benchmarks.rows import COLUMNS, Row

DOCUMENT = Path(__file__).resolve().parent.parent / "docs/benchmarks.md"

HEAD = """\
# Benchmarks

`make bench` writes this page; `make bench BENCH="NAME NAME"` runs some benchmarks and replaces only their
sections. Each section names its command, date, machine and reference month. A ratio is the figure divided by
what it is compared with, both measured in the same run. A target is for the ratio or, without a ratio, for
the figure itself. [performance.md](performance.md) says what limits each figure, and what could be improved
next.
"""


def write_section(name: str, title: str, rows: Sequence[Row], order: Sequence[str]) -> None:
    """Writes a benchmark's rows into the document; `order` lists all benchmarks, in the order of sections."""
    sections = {**_sections(), name: _section(name, title, rows)}
    known = [sections[each] for each in order if each in sections]
    DOCUMENT.parent.mkdir(exist_ok=True)
    DOCUMENT.write_text("\n".join([HEAD, *known]))


def _sections() -> Mapping[str, str]:
    """The document's sections by benchmark, each with one newline at its end."""
    text = DOCUMENT.read_text() if DOCUMENT.exists() else ""
    return {
        found[1]: f"{found[0].rstrip()}\n"
        for found in re.finditer(r"^## (\w+): .*?(?=^## |\Z)", text, flags=re.MULTILINE | re.DOTALL)
    }


def _section(name: str, title: str, rows: Sequence[Row]) -> str:
    lines = [
        f"## {name}: {title}",
        "",
        f"`make bench BENCH={name}`, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC;",
        f"{machine()}; {month_description()}.",
        "",
        _line(COLUMNS),
        _line(["---"] * len(COLUMNS)),
        *(_line(row.cells()) for row in rows),
    ]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def machine() -> str:
    """Describes the machine: processor, cores, memory, system, Python."""
    cpuinfo = Path("/proc/cpuinfo")
    model = (
        re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE) if cpuinfo.exists() else None
    )
    processor = model[1].strip() if model else platform.processor() or platform.machine()
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{processor}, {os.cpu_count()} cores, {gigabytes:.0f} GiB, {platform.system()},"
        f" Python {platform.python_version()}"
    )
