"""AWS::RDS::DBCluster and its instances on the embedded PostgreSQL, visible to the RDS API."""

import json
from typing import Any, ClassVar, Self

from moto.ec2.models import ec2_backends
from moto.rds.models import rds_backends
from moto.secretsmanager.models import secretsmanager_backends

from local_cloud.aws.resources.base import Resource, Wanted, is_true
from local_cloud.aws.services import services
from local_cloud.postgres import PostgresCluster
from local_cloud.state import file_name


class AuroraCluster(Resource):
    """A cluster. Its data stays under `.local/postgres/STACK-LOGICALID` when the stack is deleted.

    Args:
        wanted: what its template wants of it.
        cluster: moto's record of it.
        postgres: the server behind it.
    """

    type_name = "AWS::RDS::DBCluster"
    name_property = "DBClusterIdentifier"
    attributes: ClassVar = {
        "DBClusterArn": lambda aurora: aurora.cluster.db_cluster_arn,
        "DBClusterResourceId": lambda aurora: aurora.cluster.db_cluster_resource_id,
        "Endpoint.Address": lambda aurora: aurora.cluster.endpoint,
        "Endpoint.Port": lambda aurora: aurora.cluster.port,
        "MasterUserSecret.SecretArn": lambda aurora: aurora.cluster.master_user_secret.secret_arn,
        "ReadEndpoint.Address": lambda aurora: aurora.cluster.reader_endpoint,
    }

    def __init__(self, wanted: Wanted, cluster: Any, postgres: PostgresCluster) -> None:
        super().__init__(wanted, cluster.db_cluster_identifier)
        self.cluster = cluster
        self._postgres = postgres

    @classmethod
    def create(cls, wanted: Wanted) -> Self:
        """Start PostgreSQL and record the cluster. Raises ValueError for another engine."""
        engine = wanted.properties["Engine"]
        if engine != "aurora-postgresql":
            raise ValueError(f"the local cloud has the engine aurora-postgresql only, not {engine}")
        stack_name = wanted.stack_id.split("/")[1]
        postgres = PostgresCluster(services().state.postgres / file_name(f"{stack_name}-{wanted.logical_id}"))
        port = postgres.start()
        services().guard.interrupt(postgres.processes()[0])
        cluster = wanted.backend(rds_backends).create_db_cluster(
            {"db_cluster_identifier": wanted.name.lower(), **_settings(wanted), "port": port}
        )
        cluster.postgres = postgres  # for a change of the password, which the RDS API makes
        aurora = cls(wanted, cluster, postgres)
        aurora._set_up()
        return aurora

    def update(self, wanted: Wanted) -> Resource:
        """Take over what can be changed in place: password, backups, version, protection, tags."""
        for name, value in _settings(wanted).items():
            if name in {"backup_retention_period", "deletion_protection", "engine_version", "tags"}:
                setattr(self.cluster, name, value)
        self.wanted = wanted
        self._set_up()
        return self

    def remove(self) -> None:
        """Forget the cluster and stop its server; the data stays."""
        self.wanted.backend(rds_backends).delete_db_cluster(self.physical_resource_id)
        self._postgres.stop()

    def _set_up(self) -> None:
        """Give the master user its password, and the cluster its database."""
        self._postgres.set_up(
            user=self.cluster.master_username,
            password=self._managed_password()
            if self.cluster.manage_master_user_password
            else str(self.wanted.properties.get("MasterUserPassword")),
            database=self.cluster.database_name,
        )

    def _managed_password(self) -> str:
        """The password in the secret that RDS manages, which gets the user's name, too."""
        secret = self.cluster.master_user_secret.secret
        backend = self.wanted.backend(secretsmanager_backends)
        value = json.loads(backend.get_secret_value(secret.arn, "", "")["SecretString"])
        with_user = json.dumps({**value, "username": self.cluster.master_username})
        backend.put_secret_value(secret.arn, with_user, None, None, ["AWSCURRENT"])
        return str(value["password"])


class AuroraInstance(Resource):
    """An instance of a cluster, in place of moto's, which has no cluster. One server is behind all instances.

    Args:
        wanted: what its template wants of it.
        instance: moto's record of it.
    """

    type_name = "AWS::RDS::DBInstance"
    name_property = "DBInstanceIdentifier"
    attributes: ClassVar = {
        "DBInstanceArn": lambda aurora: aurora.instance.db_instance_arn,
        "Endpoint.Address": lambda aurora: aurora.instance.address,
        "Endpoint.Port": lambda aurora: aurora.instance.port,
    }

    def __init__(self, wanted: Wanted, instance: Any) -> None:
        super().__init__(wanted, instance.db_instance_identifier)
        self.instance = instance

    @classmethod
    def create(cls, wanted: Wanted) -> Self:
        """Record an instance. Raises ValueError for what RDS or the local cloud refuses."""
        if "DBClusterIdentifier" not in wanted.properties:
            raise ValueError(
                "the local cloud has instances of a cluster only: give the instance a DBClusterIdentifier"
            )
        backend = wanted.backend(rds_backends)
        cluster = backend.clusters[wanted.properties["DBClusterIdentifier"]]
        _refuse_public_instance_without_host_names(wanted, cluster)
        instance = backend.create_db_instance(
            {
                "db_instance_identifier": wanted.name.lower(),
                "db_cluster_identifier": cluster.db_cluster_identifier,
                "engine": wanted.properties.get("Engine", cluster.engine),
                "port": cluster.port,
                **_instance_settings(wanted),
            }
        )
        return cls(wanted, instance)

    def update(self, wanted: Wanted) -> Resource:
        """Take over what can be changed in place: class, public address, tags."""
        for name, value in _instance_settings(wanted).items():
            setattr(self.instance, name, value)
        self.wanted = wanted
        return self

    def remove(self) -> None:
        """Forget the instance."""
        self.wanted.backend(rds_backends).delete_db_instance(self.physical_resource_id)


def _refuse_public_instance_without_host_names(wanted: Wanted, cluster: Any) -> None:
    if not wanted.flag("PubliclyAccessible") or cluster.db_subnet_group_name == "default":
        return
    (group,) = wanted.backend(rds_backends).describe_db_subnet_groups(cluster.db_subnet_group_name)
    vpc = wanted.backend(ec2_backends).get_vpc(group.vpc_id)
    if not (is_true(vpc.enable_dns_support) and is_true(vpc.enable_dns_hostnames)):
        raise ValueError(
            "Cannot create a publicly accessible DBInstance. The specified VPC does not support DNS"
            " resolution, DNS hostnames, or both. Update the VPC and then try again"
        )


def _settings(wanted: Wanted) -> dict[str, Any]:
    given = wanted.properties
    subnets = given.get("DBSubnetGroupName")  # a Ref to a group is moto's record of it
    return _given(
        {
            "engine": given["Engine"],
            "engine_version": given.get("EngineVersion"),
            "master_username": given.get("MasterUsername"),
            "master_user_password": given.get("MasterUserPassword"),
            "manage_master_user_password": wanted.flag("ManageMasterUserPassword"),
            "database_name": given.get("DatabaseName"),
            "backup_retention_period": int(given.get("BackupRetentionPeriod", 1)),
            "db_subnet_group_name": getattr(subnets, "name", subnets),
            "db_cluster_parameter_group_name": given.get("DBClusterParameterGroupName"),
            "vpc_security_group_ids": given.get("VpcSecurityGroupIds"),
            "storage_encrypted": wanted.flag("StorageEncrypted"),
            "deletion_protection": wanted.flag("DeletionProtection"),
            "copy_tags_to_snapshot": wanted.flag("CopyTagsToSnapshot"),
            "enable_iam_database_authentication": wanted.flag("EnableIAMDatabaseAuthentication"),
            "tags": given.get("Tags"),
        }
    )


def _instance_settings(wanted: Wanted) -> dict[str, Any]:
    return _given(
        {
            "db_instance_class": wanted.properties.get("DBInstanceClass"),
            "publicly_accessible": wanted.flag("PubliclyAccessible"),
            "tags": wanted.properties.get("Tags"),
        }
    )


def _given(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value is not None}
