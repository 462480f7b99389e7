"""From a function as moto knows it to what the runner needs: code unzipped, settings in one record."""

import io
import os
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from local_cloud.aws.runner.environment import FunctionSpec
from local_cloud.aws.services import services


def spec_of(function: Any) -> FunctionSpec:
    """The spec of moto's LambdaFunction, with its code unzipped. Packages of this venv replace its layers."""
    return FunctionSpec(
        name=function.function_name,
        arn=function.function_arn,
        region=function.region,
        runtime=function.run_time or "",
        handler=function.handler or "",
        code=_unzipped(function),
        memory_mb=int(function.memory_size),
        timeout_seconds=float(function.timeout),
        variables=tuple(sorted((name, str(value)) for name, value in function.environment_vars.items())),
    )


def _unzipped(function: Any) -> Path:
    """The folder with the function's code, shared by all functions that have the same code."""
    folder: Path = services().state.functions / function.code_digest.removeprefix("sha256:")[:16]
    if not folder.exists():
        draft = Path(tempfile.mkdtemp(dir=folder.parent))
        with zipfile.ZipFile(io.BytesIO(function.code_bytes)) as archive:
            archive.extractall(draft)
        try:
            os.rename(draft, folder)  # noqa: PTH104
        except OSError:  # another thread was first
            shutil.rmtree(draft)
    return folder
