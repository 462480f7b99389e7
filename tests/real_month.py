"""The real June 2026, where it is there."""

import os
from pathlib import Path

import pytest

from tests.conftest import ROOT

REAL_MONTH = Path(os.environ.get("FIPE_REAL_MONTH", ROOT.parent / "shared/fipe/catalogue-2026-06.tsv.gz"))

needs_real_month = pytest.mark.skipif(
    not REAL_MONTH.is_file(), reason=f"the real month is not there: {REAL_MONTH}"
)
