"""Patches of moto's RDS."""

from typing import Any

from moto.rds import models as rds

from local_cloud.aws.moto_patches.members import replace

_modify_db_cluster = rds.RDSBackend.modify_db_cluster


def put_databases_on_loopback() -> None:
    """moto gives clusters host names that do not exist; their server is on this machine."""
    localhost = property(lambda _: "localhost")
    replace(rds.DBCluster, endpoint=localhost, reader_endpoint=localhost)
    replace(rds.DBInstance, address=localhost)


def change_passwords() -> None:
    """moto notes a cluster's new password; the cluster's PostgreSQL has to take it over."""
    replace(rds.RDSBackend, modify_db_cluster=_modify_and_change_password)


def _modify_and_change_password(backend: Any, kwargs: dict[str, Any]) -> Any:
    cluster = _modify_db_cluster(backend, kwargs)
    password = kwargs.get("master_user_password")
    if password is not None and hasattr(cluster, "postgres"):
        cluster.postgres.set_up(
            user=cluster.master_username, password=password, database=cluster.database_name
        )
    return cluster
