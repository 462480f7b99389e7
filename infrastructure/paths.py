"""The files that a deployment packs."""

from pathlib import Path

from stage_settings import SettingsError

ROOT = Path(__file__).resolve().parent.parent

FUNCTIONS = ROOT / "src"
SQL_INIT = ROOT / "lambda"
SQL_SCRIPT = ROOT / "create_fipe_db.sql"
API_LAYER = ROOT / "lambda-layer" / "build" / "api"
PSYCOPG2_LAYER = ROOT / "lambda-layer" / "build" / "psycopg2"
QUERY_LAYER = ROOT / "lambda-layer" / "build" / "query"
PYARROW_LAYER = ROOT / "lambda-layer" / "build" / "pyarrow"
"""Only built for a stage that writes to a bucket: it is larger than the others together."""

RDS_CERTIFICATES = PSYCOPG2_LAYER / "rds-certificates.pem"
"""Certificates of the authorities that RDS uses; missing if they could not be downloaded."""

NOT_PACKED = ["**/__pycache__", "**/*.pyc", "**/.*_cache"]
NOT_PACKED_OF_SRC = ["/*", "!/fipe_api", *NOT_PACKED]
"""Patterns as in .gitignore: from src, the functions get only fipe_api."""
NOT_PACKED_OF_QUERY = ["/*", "!/fipe_api", "!/fipe_page", "!/fipe_query", *NOT_PACKED]
"""FipeQuery gets fipe_query and the page as well."""


def check_prepared(*, with_pyarrow: bool = False) -> None:
    """Raises SettingsError if create_fipe_api_layer.sh must run first."""
    if with_pyarrow and not PYARROW_LAYER.is_dir():
        raise SettingsError(
            ["the layer with pyarrow is not built; run EXPORT_BUCKET=yes ./create_fipe_api_layer.sh"]
        )
    packed_script = SQL_INIT / "assets" / SQL_SCRIPT.name
    layers = (API_LAYER, PSYCOPG2_LAYER, QUERY_LAYER)
    if not (all(layer.is_dir() for layer in layers) and packed_script.is_file()):
        raise SettingsError(["the Lambda layers are not built; run ./create_fipe_api_layer.sh"])
    if packed_script.read_bytes() != SQL_SCRIPT.read_bytes():
        raise SettingsError([f"{SQL_SCRIPT.name} has changed; run ./create_fipe_api_layer.sh"])
