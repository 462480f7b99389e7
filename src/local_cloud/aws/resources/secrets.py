"""AWS::SecretsManager::Secret with a generated value, and the attachment of a database's address."""

import json
from typing import Any, ClassVar, Self

from moto.rds.models import rds_backends
from moto.secretsmanager.models import secretsmanager_backends
from moto.secretsmanager.utils import random_password

from local_cloud.aws.resources.base import Resource, Wanted, is_true


class Secret(Resource):
    """A secret of Secrets Manager, referred to by its ARN; updates keep its value."""

    type_name = "AWS::SecretsManager::Secret"
    name_property = "Name"
    attributes: ClassVar = {"Id": lambda secret: secret.physical_resource_id}

    @classmethod
    def create(cls, wanted: Wanted) -> Self:
        """Create the secret with the value that is given or generated."""
        answer = wanted.backend(secretsmanager_backends).create_secret(
            name=wanted.name,
            secret_string=_value(wanted.properties),
            secret_binary=None,
            description=wanted.properties.get("Description"),
            tags=wanted.properties.get("Tags"),
            kms_key_id=wanted.properties.get("KmsKeyId"),
            client_request_token=None,
            replica_regions=[],
            force_overwrite=False,
        )
        return cls(wanted, json.loads(answer)["ARN"])

    def update(self, wanted: Wanted) -> Resource:
        """Update the description and the tags."""
        secret = wanted.backend(secretsmanager_backends).secrets[self.physical_resource_id]
        secret.description = wanted.properties.get("Description")
        secret.tags = wanted.properties.get("Tags")
        self.wanted = wanted
        return self

    def remove(self) -> None:
        """Delete the secret at once."""
        self.wanted.backend(secretsmanager_backends).delete_secret(
            self.physical_resource_id, recovery_window_in_days=None, force_delete_without_recovery=True
        )


class SecretTargetAttachment(Resource):
    """Adds engine, host, port, dbname and the identifier of a cluster to its secret; Ref gives the secret."""

    type_name = "AWS::SecretsManager::SecretTargetAttachment"
    attributes: ClassVar = {"Id": lambda attachment: attachment.physical_resource_id}

    @classmethod
    def create(cls, wanted: Wanted) -> Self:
        """Attach a cluster. Raises ValueError for another target."""
        target_type, secret_id = wanted.properties["TargetType"], wanted.properties["SecretId"]
        if target_type != "AWS::RDS::DBCluster":
            raise ValueError(
                f"the local cloud attaches secrets to AWS::RDS::DBCluster only, not {target_type}"
            )
        cluster = wanted.backend(rds_backends).clusters[wanted.properties["TargetId"]]
        backend = wanted.backend(secretsmanager_backends)
        secret = backend.secrets[secret_id]
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
        backend.put_secret_value(secret_id, json.dumps(value), None, None, ["AWSCURRENT"])
        return cls(wanted, secret.arn)

    def update(self, wanted: Wanted) -> Resource:
        """Attach the cluster that is wanted now."""
        return self.create(wanted)

    def remove(self) -> None:
        """Leave the secret as it is."""


def _value(properties: dict[str, Any]) -> str:
    rule = properties.get("GenerateSecretString")
    if rule is None:
        return str(properties.get("SecretString", ""))
    password = random_password(
        password_length=int(rule.get("PasswordLength", 32)),
        exclude_characters=rule.get("ExcludeCharacters", ""),
        exclude_numbers=is_true(rule.get("ExcludeNumbers")),
        exclude_punctuation=is_true(rule.get("ExcludePunctuation")),
        exclude_uppercase=is_true(rule.get("ExcludeUppercase")),
        exclude_lowercase=is_true(rule.get("ExcludeLowercase")),
        include_space=is_true(rule.get("IncludeSpace")),
        require_each_included_type=is_true(rule.get("RequireEachIncludedType", True)),
    )
    if "GenerateStringKey" not in rule:
        return password
    return json.dumps({**json.loads(rule["SecretStringTemplate"]), rule["GenerateStringKey"]: password})
