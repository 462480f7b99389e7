"""The real June 2026, where it is there."""

import os
from pathlib import Path

import pytest

from local_cloud.fipe_simulator import read_catalogue
from tests.e2e.make import ROOT, lines, place

REAL_MONTH = Path(os.environ.get("FIPE_REAL_MONTH", ROOT.parent / "shared/fipe/catalogue-2026-06.tsv.gz"))


@pytest.mark.walkthrough
@pytest.mark.real_month
@pytest.mark.skipif(not REAL_MONTH.is_file(), reason=f"the real month is not there: {REAL_MONTH}")
def test_loads_the_real_month_with_every_field_equal(tmp_path: Path) -> None:
    with place(tmp_path) as here:
        ended = here.make("local", f"CATALOGUE={REAL_MONTH}")
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert here.prices("2026-06") == lines(read_catalogue(REAL_MONTH))
        assert here.query(
            "select prices, models_received, brands_complete, unpriced, complete from fipe.load_status"
        ) == ["50332\t11238\t236\t0\tt"]
