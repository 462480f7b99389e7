"""Names that FIPE would never publish."""

from decimal import Decimal

import pytest

from fipe_simulator import Catalogue, CatalogueRow
from tests.reliability.pipeline import Pipeline

HOSTILE = CatalogueRow(1, 999, "Hostile", 1, "N" * 2**20, 2014, 3, "Diesel", "005340-6", Decimal("1.00"))


@pytest.mark.faults
def test_a_model_name_of_a_mebibyte_keeps_only_its_own_brand_incomplete_until_it_is_corrected(
    pipeline: Pipeline,
) -> None:
    sane = pipeline.simulator.catalogue

    def publish(*rows: CatalogueRow) -> None:
        pipeline.simulator.catalogue = Catalogue(sane.month, [*sane.rows, *rows])
        pipeline.simulator.published = 1

    try:
        publish(HOSTILE)
        run_id = pipeline.start()
        pipeline.until_idle()
        assert pipeline.query("select count(*) from fipe.vehicle_price") == [(len(sane.rows),)]
        assert pipeline.query("select brand, model_code from fipe.load_missing") == [("Hostile", None)]
        rejected = pipeline.query("select call, length(answer), reason from fipe.rejected_answer")
        assert [(call, length) for call, length, _ in rejected] == [("ConsultarModelos", 4000)]
        assert "of length <= 250" in rejected[0][2]
        assert pipeline.redrive() == 1
        publish(HOSTILE._replace(model="Mended"))
        pipeline.until_idle()
        pipeline.redrive()
        pipeline.until_idle()
        pipeline.assert_equal_to_the_source(run_id)
    finally:
        publish()
