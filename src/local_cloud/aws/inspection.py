"""What the running local cloud holds: its queues, databases and default VPC."""

from dataclasses import dataclass

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.ec2.models import ec2_backends
from moto.rds.models import rds_backends
from moto.sqs.models import sqs_backends

from local_cloud.aws.services import services
from local_cloud.postgres import PostgresCluster, clusters
from local_cloud.state import REGION


@dataclass(frozen=True)
class QueueCounts:
    """How many messages a queue holds. A dead letter queue takes what other queues give up on."""

    name: str
    is_dead_letter_queue: bool
    visible: int
    in_flight: int
    delayed: int


@dataclass(frozen=True)
class Database:
    """A database cluster: its data's folder under .local/postgres and how to reach it."""

    name: str
    identifier: str
    host: str
    port: int


def queues() -> list[QueueCounts]:
    """The queues of all regions, by name."""
    found = [
        queue for backend in sqs_backends[DEFAULT_ACCOUNT_ID].values() for queue in backend.queues.values()
    ]
    dead_letter_queues = {id(queue.dead_letter_queue) for queue in found}
    return sorted(
        (
            QueueCounts(
                name=queue.name,
                is_dead_letter_queue=id(queue) in dead_letter_queues,
                visible=queue.approximate_number_of_messages,
                in_flight=queue.approximate_number_of_messages_not_visible,
                delayed=queue.approximate_number_of_messages_delayed,
            )
            for queue in found
        ),
        key=lambda queue: queue.name,
    )


def clusters_in_use() -> list[PostgresCluster]:
    """The PostgreSQL servers behind the clusters of this cloud."""
    ports = {
        cluster.port
        for backend in rds_backends[DEFAULT_ACCOUNT_ID].values()
        for cluster in backend.clusters.values()
    }
    return [cluster for cluster in clusters(services().state.postgres) if cluster.port in ports]


def databases() -> list[Database]:
    """The database clusters, by name."""
    folders = {cluster.port: cluster.name for cluster in clusters_in_use()}
    return [
        Database(folders.get(cluster.port, ""), cluster.db_cluster_identifier, cluster.endpoint, cluster.port)
        for backend in rds_backends[DEFAULT_ACCOUNT_ID].values()
        for cluster in backend.clusters.values()
    ]


def default_vpc() -> str | None:
    """The id of the default VPC; None if it was deleted."""
    vpc = ec2_backends[DEFAULT_ACCOUNT_ID][REGION].get_default_vpc()
    return vpc.id if vpc else None
