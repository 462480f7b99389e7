"""AWS::RDS::DBCluster and its instances on the embedded PostgreSQL, visible to the RDS API."""

import json
from typing import Any

from moto.core.common_models import CloudFormationModel
from moto.rds.models import rds_backends
from moto.secretsmanager.models import secretsmanager_backends

from local_cloud.aws.services import services
from local_cloud.postgres import PostgresCluster
from local_cloud.state import file_name


class AuroraCluster(CloudFormationModel):
    """A cluster. Its data stays under `.local/postgres/STACK-LOGICALID` when the stack is deleted."""

    def __init__(self, cluster: Any, postgres: PostgresCluster) -> None:
        """moto's record of the cluster, and the server behind it."""
        self.cluster = cluster
        self._postgres = postgres
        self.physical_resource_id = cluster.db_cluster_identifier

    @staticmethod
    def cloudformation_name_type() -> str:
        """The property that names it."""
        return "DBClusterIdentifier"

    @staticmethod
    def cloudformation_type() -> str:
        """The type."""
        return "AWS::RDS::DBCluster"

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        """Whether GetAtt knows it."""
        return attr in {
            "DBClusterArn",
            "DBClusterResourceId",
            "Endpoint.Address",
            "Endpoint.Port",
            "MasterUserSecret.SecretArn",
            "ReadEndpoint.Address",
        }

    def get_cfn_attribute(self, attribute_name: str) -> str:
        """A value for GetAtt. Raises KeyError for an unknown one."""
        match attribute_name:
            case "Endpoint.Address":
                return str(self.cluster.endpoint)
            case "ReadEndpoint.Address":
                return str(self.cluster.reader_endpoint)
            case "Endpoint.Port":
                return str(self.cluster.port)
            case "DBClusterResourceId":
                return str(self.cluster.db_cluster_resource_id)
            case "DBClusterArn":
                return str(self.cluster.db_cluster_arn)
            case "MasterUserSecret.SecretArn":
                return str(self.cluster.master_user_secret.secret_arn)
        raise KeyError(attribute_name)

    @classmethod
    def create_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
        **kwargs: Any,
    ) -> "AuroraCluster":
        """Start PostgreSQL and record the cluster. Raises ValueError for another engine."""
        properties = cloudformation_json["Properties"]
        if properties["Engine"] != "aurora-postgresql":
            raise ValueError(f"the local cloud has aurora-postgresql, not {properties['Engine']}")
        stack_name = kwargs["StackId"].split("/")[1]
        postgres = PostgresCluster(
            services().state.postgres / file_name(f"{stack_name}-{kwargs['LogicalId']}")
        )
        port = postgres.start()
        services().guard.interrupt(postgres.processes()[0])
        cluster = rds_backends[account_id][region_name].create_db_cluster(
            {"db_cluster_identifier": resource_name.lower(), **_settings(properties), "port": port}
        )
        cls._set_up(postgres, cluster, properties, account_id, region_name)
        return cls(cluster, postgres)

    @classmethod
    def update_from_cloudformation_json(
        cls,
        original_resource: "AuroraCluster",
        new_resource_name: str,  # noqa: ARG003
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
    ) -> "AuroraCluster":
        """Take over what can be changed in place: password, backups, protection."""
        properties = cloudformation_json["Properties"]
        cluster = original_resource.cluster
        for name, value in _settings(properties).items():
            if name in {"backup_retention_period", "deletion_protection", "engine_version", "tags"}:
                setattr(cluster, name, value)
        cls._set_up(original_resource._postgres, cluster, properties, account_id, region_name)
        return original_resource

    def delete(self, account_id: str, region_name: str) -> None:
        """Forget the cluster and stop its server; the data stays."""
        rds_backends[account_id][region_name].delete_db_cluster(self.physical_resource_id)
        self._postgres.stop()

    @staticmethod
    def _set_up(
        postgres: PostgresCluster, cluster: Any, properties: dict[str, Any], account_id: str, region_name: str
    ) -> None:
        password = properties.get("MasterUserPassword")
        if cluster.manage_master_user_password:
            secret = cluster.master_user_secret.secret
            backend: Any = secretsmanager_backends[account_id][region_name]
            value = json.loads(backend.get_secret_value(secret.arn, "", "")["SecretString"])
            password = value["password"]
            backend.put_secret_value(
                secret.arn,
                json.dumps({**value, "username": cluster.master_username}),
                None,
                None,
                ["AWSCURRENT"],
            )
        postgres.set_up(user=cluster.master_username, password=str(password), database=cluster.database_name)


class AuroraInstance(CloudFormationModel):
    """An instance of a cluster; one server stands behind all instances."""

    def __init__(self, instance: Any) -> None:
        """moto's record of the instance."""
        self._instance = instance
        self.physical_resource_id = instance.db_instance_identifier

    @staticmethod
    def cloudformation_name_type() -> str:
        """The property that names it."""
        return "DBInstanceIdentifier"

    @staticmethod
    def cloudformation_type() -> str:
        """The type, which replaces moto's: that one makes instances without a cluster."""
        return "AWS::RDS::DBInstance"

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        """Whether GetAtt knows it."""
        return attr in {"Endpoint.Address", "Endpoint.Port", "DBInstanceArn"}

    def get_cfn_attribute(self, attribute_name: str) -> str:
        """A value for GetAtt."""
        values = {"Endpoint.Address": "address", "Endpoint.Port": "port", "DBInstanceArn": "db_instance_arn"}
        return str(getattr(self._instance, values[attribute_name]))

    @classmethod
    def create_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
        **kwargs: Any,  # noqa: ARG003
    ) -> "AuroraInstance":
        """Record an instance. Raises ValueError when it belongs to no cluster."""
        properties = cloudformation_json["Properties"]
        if "DBClusterIdentifier" not in properties:
            raise ValueError(
                "the local cloud has instances of a cluster only: DBClusterIdentifier is missing"
            )
        backend = rds_backends[account_id][region_name]
        cluster = backend.clusters[properties["DBClusterIdentifier"]]
        instance = backend.create_db_instance(
            {
                "db_instance_identifier": resource_name.lower(),
                "db_cluster_identifier": cluster.db_cluster_identifier,
                "db_instance_class": properties.get("DBInstanceClass"),
                "engine": properties.get("Engine", cluster.engine),
                "port": cluster.port,
                "publicly_accessible": _flag(properties, "PubliclyAccessible"),
                "tags": properties.get("Tags"),
            }
        )
        return cls(instance)

    def delete(self, account_id: str, region_name: str) -> None:
        """Forget the instance."""
        rds_backends[account_id][region_name].delete_db_instance(self.physical_resource_id)


def _settings(properties: dict[str, Any]) -> dict[str, Any]:
    settings = {
        "engine": properties["Engine"],
        "engine_version": properties.get("EngineVersion"),
        "master_username": properties.get("MasterUsername"),
        "master_user_password": properties.get("MasterUserPassword"),
        "manage_master_user_password": _flag(properties, "ManageMasterUserPassword"),
        "database_name": properties.get("DatabaseName"),
        "backup_retention_period": int(properties.get("BackupRetentionPeriod", 1)),
        "db_subnet_group_name": properties.get("DBSubnetGroupName"),
        "db_cluster_parameter_group_name": properties.get("DBClusterParameterGroupName"),
        "vpc_security_group_ids": properties.get("VpcSecurityGroupIds"),
        "storage_encrypted": _flag(properties, "StorageEncrypted"),
        "deletion_protection": _flag(properties, "DeletionProtection"),
        "copy_tags_to_snapshot": _flag(properties, "CopyTagsToSnapshot"),
        "enable_iam_database_authentication": _flag(properties, "EnableIAMDatabaseAuthentication"),
        "tags": properties.get("Tags"),
    }
    return {name: value for name, value in settings.items() if value is not None}


def _flag(properties: dict[str, Any], name: str) -> bool:
    return str(properties.get(name, False)).lower() == "true"
