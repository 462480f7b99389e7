"""Loads the real June 2026 if its file is there."""

from pathlib import Path

import pytest

from fipe_simulator import read_catalogue
from tests.e2e.make import lines, place
from tests.real_month import REAL_MONTH, needs_real_month


@pytest.mark.walkthrough
@pytest.mark.real_month
@needs_real_month
def test_loads_the_real_month_with_every_field_equal(tmp_path: Path) -> None:
    with place(tmp_path) as here:
        ended = here.make("local", f"CATALOGUE={REAL_MONTH}")
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert here.prices("2026-06") == lines(read_catalogue(REAL_MONTH))
        assert here.query(
            "select prices, models_received, brands_complete, unpriced, complete from fipe.load_status"
        ) == ["50332\t11238\t236\t0\tt"]
