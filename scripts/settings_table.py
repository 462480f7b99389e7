"""Writes the table of settings in docs/settings.md from StageSettings, so that the two never differ.

python -m scripts.settings_table
"""

from pathlib import Path

from pydantic.fields import FieldInfo

from stage_settings import StageSettings

PAGE = Path(__file__).resolve().parent.parent / "docs/settings.md"
BEGIN = "<!-- begin: written by `make docs` from stage_settings.py -->\n"
END = "<!-- end -->\n"


def table() -> str:
    """The settings as a Markdown table, one row per field of StageSettings."""
    rows = [
        f"| `{name}` | {_default(field)} | {field.description} |"
        for name, field in StageSettings.model_fields.items()
    ]
    return "\n".join(["| setting | default | value |", "| --- | --- | --- |", *rows, ""])


def with_table(page: str) -> str:
    """The page with a fresh table between its two markers."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default == "":
        return "none"
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
