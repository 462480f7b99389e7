"""The table of the shared pace: when a source may be called next, what else makes a load wait, and which runs
are cancelled.
"""

from aws_cdk import RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from constructs import Construct

from infrastructure import names
from infrastructure.findings import acknowledge


class PaceTable(dynamodb.Table):
    """A DynamoDB table that is paid per request and deleted with the stage."""

    def __init__(self, scope: Construct, construct_id: str, *, stage: str) -> None:
        super().__init__(
            scope,
            construct_id,
            table_name=names.pace_table(stage),
            partition_key=dynamodb.Attribute(name="source", type=dynamodb.AttributeType.STRING),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            removal_policy=RemovalPolicy.DESTROY,
        )
        acknowledge(
            self,
            "AwsSolutions::AwsSolutions-DDB3",
            "No backup: its items matter only while a load runs.",
        )

    def grant_pacing(self, function: iam.IGrantable) -> None:
        """Lets a function take turns with the others and record how its calls end."""
        self.grant(function, "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem")
