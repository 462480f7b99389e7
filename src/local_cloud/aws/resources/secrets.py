"""AWS::SecretsManager::Secret with a generated value, and the attachment of a database's address."""

import json
from typing import Any

from moto.core.common_models import CloudFormationModel
from moto.rds.models import rds_backends
from moto.secretsmanager.models import secretsmanager_backends
from moto.secretsmanager.utils import random_password


class Secret(CloudFormationModel):
    """A secret of Secrets Manager; its value is made once and kept by updates."""

    def __init__(self, arn: str) -> None:
        """A secret that exists under `arn`."""
        self.physical_resource_id = arn

    @staticmethod
    def cloudformation_name_type() -> str:
        """The property that names it."""
        return "Name"

    @staticmethod
    def cloudformation_type() -> str:
        """The type."""
        return "AWS::SecretsManager::Secret"

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        """Id alone."""
        return attr == "Id"

    def get_cfn_attribute(self, attribute_name: str) -> str:  # noqa: ARG002
        """The ARN."""
        return self.physical_resource_id

    @classmethod
    def create_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
        **kwargs: Any,  # noqa: ARG003
    ) -> "Secret":
        """Make the secret with the value given or generated."""
        properties = cloudformation_json["Properties"]
        answer = secretsmanager_backends[account_id][region_name].create_secret(
            name=resource_name,
            secret_string=_value(properties),
            secret_binary=None,
            description=properties.get("Description"),
            tags=properties.get("Tags"),
            kms_key_id=properties.get("KmsKeyId"),
            client_request_token=None,
            replica_regions=[],
            force_overwrite=False,
        )
        return cls(json.loads(answer)["ARN"])

    @classmethod
    def update_from_cloudformation_json(
        cls,
        original_resource: "Secret",
        new_resource_name: str,  # noqa: ARG003
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
    ) -> "Secret":
        """Update the description and the tags."""
        properties = cloudformation_json["Properties"]
        secret: Any = secretsmanager_backends[account_id][region_name].secrets[
            original_resource.physical_resource_id
        ]
        secret.description = properties.get("Description")
        secret.tags = properties.get("Tags")
        return original_resource

    def delete(self, account_id: str, region_name: str) -> None:
        """Delete the secret at once."""
        secretsmanager_backends[account_id][region_name].delete_secret(
            self.physical_resource_id, recovery_window_in_days=None, force_delete_without_recovery=True
        )


class SecretTargetAttachment(CloudFormationModel):
    """Adds engine, host, port, dbname and the identifier of a cluster to its secret."""

    def __init__(self, secret_arn: str) -> None:
        """Its reference is the secret's."""
        self.physical_resource_id = secret_arn

    @staticmethod
    def cloudformation_name_type() -> str:
        """It has no name."""
        return ""

    @staticmethod
    def cloudformation_type() -> str:
        """The type."""
        return "AWS::SecretsManager::SecretTargetAttachment"

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        """Id alone."""
        return attr == "Id"

    def get_cfn_attribute(self, attribute_name: str) -> str:  # noqa: ARG002
        """The secret's ARN."""
        return self.physical_resource_id

    @classmethod
    def create_from_cloudformation_json(
        cls,
        resource_name: str,  # noqa: ARG003
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
        **kwargs: Any,  # noqa: ARG003
    ) -> "SecretTargetAttachment":
        """Attach a cluster. Raises ValueError for another target."""
        properties = cloudformation_json["Properties"]
        if properties["TargetType"] != "AWS::RDS::DBCluster":
            raise ValueError(
                f"the local cloud attaches secrets to clusters, not to {properties['TargetType']}"
            )
        cluster = rds_backends[account_id][region_name].clusters[properties["TargetId"]]
        backend: Any = secretsmanager_backends[account_id][region_name]
        secret = backend.secrets[properties["SecretId"]]
        current = secret.versions[secret.default_version_id]["secret_string"]
        value = {
            **json.loads(current),
            "engine": "postgres",
            "host": cluster.endpoint,
            "port": cluster.port,
            "dbClusterIdentifier": cluster.db_cluster_identifier,
        }
        if cluster.database_name:
            value["dbname"] = cluster.database_name
        backend.put_secret_value(properties["SecretId"], json.dumps(value), None, None, ["AWSCURRENT"])
        return cls(secret.arn)


def _value(properties: dict[str, Any]) -> str:
    rule = properties.get("GenerateSecretString")
    if rule is None:
        return str(properties.get("SecretString", ""))
    password = random_password(
        password_length=int(rule.get("PasswordLength", 32)),
        exclude_characters=rule.get("ExcludeCharacters", ""),
        exclude_numbers=_flag(rule, "ExcludeNumbers"),
        exclude_punctuation=_flag(rule, "ExcludePunctuation"),
        exclude_uppercase=_flag(rule, "ExcludeUppercase"),
        exclude_lowercase=_flag(rule, "ExcludeLowercase"),
        include_space=_flag(rule, "IncludeSpace"),
        require_each_included_type=_flag(rule, "RequireEachIncludedType", default=True),
    )
    if "GenerateStringKey" not in rule:
        return password
    return json.dumps({**json.loads(rule["SecretStringTemplate"]), rule["GenerateStringKey"]: password})


def _flag(rule: dict[str, Any], name: str, *, default: bool = False) -> bool:
    return str(rule.get(name, default)).lower() == "true"
