"""Sets the embedded PostgreSQL up for MiniStack's cluster; MiniStack's own venv has no packages for it.

`python -m tests.second_cloud.set_up_database FOLDER` reads user, password and database as a JSON object, and
prints the port.
"""

import json
import sys
from pathlib import Path

from local_cloud.postgres import PostgresCluster

if __name__ == "__main__":
    cluster = PostgresCluster(Path(sys.argv[1]))
    cluster.start()
    print(cluster.set_up(**json.load(sys.stdin)).port)
