"""The emulator: AWS on one machine, by moto and what moto lacks.

Nothing outside this package imports it, or moto. Another emulator can take its place when it does this:

- It runs as `python -m local_cloud.aws.server PORT` until SIGTERM (PORT 0: any free one) and keeps its files
  where `local_cloud.state.LocalState` says. It holds `LocalState.server_lock` while it runs, and publishes
  its endpoint when it is ready.
- It answers the AWS APIs at that endpoint, and the three paths in `local_cloud.state`: STATUS_PATH,
  FAULTS_PATH and SIMULATOR_PATH.
"""

from local_cloud.aws import moto_imports  # noqa: F401  before anything imports moto
