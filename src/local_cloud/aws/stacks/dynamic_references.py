"""CloudFormation's {{resolve:secretsmanager:ARN:SecretString:KEY}} and {{resolve:ssm:NAME}}."""

import json
import re
from typing import Any

from moto.secretsmanager.models import secretsmanager_backends
from moto.ssm.models import ssm_backends

_REFERENCE = re.compile(r"\{\{resolve:(ssm|ssm-secure|secretsmanager):([^}]+)\}\}")


def resolve(value: Any, account_id: str, region_name: str) -> Any:
    """`value` with every reference in it replaced. Raises KeyError for a key that does not exist."""
    if isinstance(value, dict):
        return {key: resolve(inner, account_id, region_name) for key, inner in value.items()}
    if isinstance(value, list):
        return [resolve(inner, account_id, region_name) for inner in value]
    if not isinstance(value, str):
        return value
    return _REFERENCE.sub(lambda found: _look_up(found[1], found[2], account_id, region_name), value)


def _look_up(service: str, path: str, account_id: str, region_name: str) -> str:
    if service != "secretsmanager":
        parameter = ssm_backends[account_id][region_name].get_parameter(path.split(":")[0])
        if parameter is None:
            raise KeyError(f"there is no SSM parameter {path}")
        return str(parameter.value)
    secret_id, *rest = path.split(":SecretString", 1)
    key = rest[0].removeprefix(":").split(":")[0] if rest else ""
    backend = secretsmanager_backends[account_id][region_name]
    value = str(backend.get_secret_value(secret_id, "", "")["SecretString"])
    return str(json.loads(value)[key]) if key else value
