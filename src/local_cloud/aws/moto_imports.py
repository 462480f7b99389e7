"""Changes to what moto does while it is imported, which takes half of its start. Import this before moto.

Checked against moto 5.2.5 and botocore 1.44.
"""

import functools
from typing import Any

from botocore.loaders import JSONFileLoader
from moto.utilities import utils

from local_cloud.state import REGION

_OFFERINGS = "ec2/resources/instance_type_offerings/"


def _read_files_once() -> None:
    """moto makes a session for each question about regions, and each reads EC2's model of 3 MB again."""
    read = JSONFileLoader.load_file
    once = functools.cache(lambda path: read(JSONFileLoader(), path))
    JSONFileLoader.load_file = lambda _, path: once(path)  # type: ignore[assignment,method-assign]


def _skip_other_regions() -> None:
    """moto reads which instance types there are in each of AWS's regions; this cloud has one region."""
    load = utils.load_resource

    def load_resource(resource: str) -> Any:
        return [] if resource.startswith(_OFFERINGS) and REGION not in resource else load(resource)

    utils.load_resource = load_resource


_read_files_once()
_skip_other_regions()
