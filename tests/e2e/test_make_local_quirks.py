"""`make local` on a source with one quirk per brand, as a user sees it: what it says last, its exit code, the
database, and the load that asks again. It waits for three real rounds, some five minutes."""

from pathlib import Path

import pytest

from fipe_simulator import BrandQuirk, BrandQuirks, Catalogue, FipeSimulator, Quirks
from fipe_simulator.brand_quirks import UNUSABLE
from tests.e2e.make import lines, place
from tests.quirks import BRANDS, YEARS, quirk_catalogue

UNANSWERED = len(UNUSABLE) * len(YEARS)
# A block of 403 costs minutes of real time: tests/reliability has it.
QUIRKS = {key: quirk for key, quirk in BRANDS.items() if quirk != BrandQuirk.REFUSED_IN_TURNS}


@pytest.mark.walkthrough
def test_an_incomplete_load_says_so_in_its_last_lines_and_its_exit_code(tmp_path: Path) -> None:
    catalogue = quirk_catalogue()
    quirks = Quirks(throttled_start=True)
    with FipeSimulator(catalogue, quirks=quirks, brand_quirks=QUIRKS) as source, place(tmp_path) as here:
        from_source = {"environment": {"FIPE_API_URL": source.url}}
        ended = here.make("local", "SOURCE=fipe", "RATE=max", **from_source)
        # 2 is make's own exit code for a command that fails.
        assert ended.returncode == 2, ended.stderr
        assert ended.stdout, ended.stderr
        last = ended.stdout.splitlines()
        assert last[-1].startswith(
            f"Incomplete: {UNANSWERED} prices had no usable answer. To ask again: make local-up"
        )
        missing = [line for line in last if line.startswith("Missing: ")]
        assert len(missing) == len(UNUSABLE), ended.stdout
        assert any(
            "cut_prices: 2 prices (Modèle 0 Flex 2014 Flex, Modèle 0 Flex zero km Flex)" in line
            for line in missing
        )
        denied = [line for line in last if line.startswith("Without a price: ")]
        assert len(denied) == 2
        assert "waiting for denied answers: asked again until" in ended.stdout
        assert here.prices("2026-06") == lines(
            Catalogue(catalogue.month, source.brand_quirks.obtainable(catalogue))
        )
        status = "select state, complete, rejected, unpriced from fipe.load_status"
        assert here.query(status) == [f"incomplete\tf\t{UNANSWERED}\t1"]

        # The source is well again: what the last line says asks for these prices alone.
        well = {key: quirk for key, quirk in QUIRKS.items() if quirk not in UNUSABLE}
        source.brand_quirks = BrandQuirks(catalogue, well)
        up = here.make("local-up", "SOURCE=fipe", "RATE=max", **from_source)
        assert up.returncode == 0, up.stdout + up.stderr
        run = last[-1].rpartition("RUN=")[2]
        before = source.statistics().calls["ConsultarValorComTodosParametros"]
        resumed = here.make("resume-dev", "FOLLOW=1", f"RUN={run}")
        assert resumed.returncode == 0, resumed.stdout + resumed.stderr
        assert resumed.stdout.splitlines()[-1].endswith("complete")
        assert source.statistics().calls["ConsultarValorComTodosParametros"] - before == UNANSWERED
        assert here.query(status) == ["complete\tt\t0\t1"]
        assert here.prices("2026-06") == lines(
            Catalogue(catalogue.month, source.brand_quirks.obtainable(catalogue))
        )
