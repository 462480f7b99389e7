"""The Aurora PostgreSQL cluster with its secret, and who may reach it over the network."""

from ipaddress import IPv4Network

from aws_cdk import Acknowledgment, Annotations, Duration, RemovalPolicy, Validations
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_rds as rds
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from infrastructure.functions import FunctionNetwork
from stage_settings import SettingsError, StageSettings

PORT = ec2.Port.POSTGRES

ZONES_OF_AURORA = 2
"""Aurora demands subnets in at least two availability zones."""


class Database(Construct):
    """The cluster, in an existing VPC.

    Raises:
        SettingsError: the VPC has no subnets that will do.

    Attributes:
        cluster: with one writer.
        secret: user, password, host, port and name of the database, as JSON.
        network: for functions that work with the database.
    """

    def __init__(self, scope: Construct, construct_id: str, *, settings: StageSettings) -> None:
        super().__init__(scope, construct_id)
        vpc = ec2.Vpc.from_lookup(self, "Vpc", vpc_id=settings.vpc_id)
        kind, subnets = choose_subnets(vpc, settings)
        is_public = kind == "public"
        if not is_public and IPv4Network(settings.allowed_ip).is_global:
            Annotations.of(self).add_warning_v2(
                "fipe:allowed-ip-has-no-way-in",
                f"The database stands in {kind} subnets, which {settings.allowed_ip} reaches only through the"
                " VPC (a VPN or a bastion host). Where the VPC has public subnets, database_subnets=public"
                " makes it reachable directly.",
            )
        security_group = self._build_security_group(vpc, settings)
        self.network = FunctionNetwork(
            vpc, subnets, self._build_functions_security_group(vpc, security_group)
        )
        self.cluster = self._build_cluster(vpc, subnets, security_group, settings, is_public=is_public)
        Validations.of(self.cluster).acknowledge(
            Acknowledgment(
                id="CloudFormation-Validate::W9011",
                reason="Public only in public subnets, for psql from the allowed address, which alone the"
                " security group lets in.",
            )
        )

    @property
    def secret(self) -> secretsmanager.ISecret:
        """The secret of the master user."""
        secret = self.cluster.secret
        assert secret is not None, "a cluster with generated credentials has a secret"
        return secret

    def _build_security_group(self, vpc: ec2.IVpc, settings: StageSettings) -> ec2.SecurityGroup:
        group = ec2.SecurityGroup(
            self, "SecurityGroup", vpc=vpc, description="The FIPE database", allow_all_outbound=False
        )
        group.add_ingress_rule(ec2.Peer.ipv4(settings.allowed_ip), PORT, "psql from the allowed address")
        return group

    def _build_functions_security_group(
        self, vpc: ec2.IVpc, database_group: ec2.SecurityGroup
    ) -> ec2.SecurityGroup:
        group = ec2.SecurityGroup(
            self,
            "FunctionsSecurityGroup",
            vpc=vpc,
            description="The functions that work with the FIPE database",
            allow_all_outbound=False,
        )
        group.connections.allow_to(database_group, PORT, "Functions to the database")
        return group

    def _build_cluster(
        self,
        vpc: ec2.IVpc,
        subnets: ec2.SubnetSelection,
        security_group: ec2.SecurityGroup,
        settings: StageSettings,
        *,
        is_public: bool,
    ) -> rds.DatabaseCluster:
        major = settings.engine_version.partition(".")[0]
        return rds.DatabaseCluster(
            self,
            "Cluster",
            engine=rds.DatabaseClusterEngine.aurora_postgres(
                version=rds.AuroraPostgresEngineVersion.of(settings.engine_version, major)
            ),
            writer=rds.ClusterInstance.provisioned(
                "Writer",
                instance_type=ec2.InstanceType(settings.instance_class.removeprefix("db.")),
                publicly_accessible=is_public,
                # An upgrade behind our back would make the next deploy a downgrade, which fails.
                auto_minor_version_upgrade=False,
            ),
            vpc=vpc,
            vpc_subnets=subnets,
            security_groups=[security_group],
            default_database_name=settings.database_name,
            credentials=rds.Credentials.from_generated_secret(settings.database_user),
            iam_authentication=True,
            storage_encrypted=True,
            parameters={"rds.force_ssl": "1"},
            backup=rds.BackupProps(retention=Duration.days(settings.backup_days)),
            deletion_protection=settings.keeps_data,
            removal_policy=RemovalPolicy.SNAPSHOT if settings.keeps_data else RemovalPolicy.DESTROY,
        )


def choose_subnets(vpc: ec2.IVpc, settings: StageSettings) -> tuple[str, ec2.SubnetSelection]:
    """The kind of subnet that the database stands in, and the subnets themselves.

    Of the kinds with enough availability zones, the most closed one: the database needs no way out, and an
    isolated subnet has none; a private one has a way out through NAT, which is not used. A public one is the
    only kind that psql reaches directly from an address outside the VPC; the security group guards it.

    Raises:
        SettingsError: no kind will do, or not the one asked for.
    """
    kinds = {"isolated": vpc.isolated_subnets, "private": vpc.private_subnets, "public": vpc.public_subnets}
    excluded = settings.excluded_zones.split(",")
    for kind, subnets in kinds.items():
        usable = [subnet for subnet in subnets if subnet.availability_zone not in excluded]
        zones = {subnet.availability_zone for subnet in usable}
        if settings.database_subnets in ("auto", kind) and len(zones) >= ZONES_OF_AURORA:
            return kind, ec2.SubnetSelection(subnets=usable)
    wanted = "one kind" if settings.database_subnets == "auto" else f"the kind {settings.database_subnets}"
    raise SettingsError(
        [
            f"vpc_id={settings.vpc_id} is refused: Aurora needs subnets of {wanted} in {ZONES_OF_AURORA}"
            " availability zones; add a subnet or give another VPC"
        ]
    )
