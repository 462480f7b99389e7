"""Patches of moto's RDS."""

from moto.rds import models as rds

from local_cloud.aws.moto_patches.members import replace


def put_databases_on_loopback() -> None:
    """moto gives clusters host names that do not exist; their server is on this machine."""
    localhost = property(lambda _: "localhost")
    replace(rds.DBCluster, endpoint=localhost, reader_endpoint=localhost)
    replace(rds.DBInstance, address=localhost)
