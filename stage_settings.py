"""All settings of a stage, checked before anything is synthesized.

Each setting is a key of the CDK context: `cdk deploy --context stage=dev --context vpc_id=vpc-0a1b2c3d ...`.
A description completes the sentence "use ..." in error messages, and fills the table in docs/settings.md.
"""

import difflib
import re
from collections.abc import Mapping
from ipaddress import AddressValueError, IPv4Network, NetmaskValueError
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import ErrorDetails

from fipe_words import _

WIDEST_PREFIX = 8
"""The widest block of addresses that may connect to the database: the size of 10.0.0.0/8, the largest private
network."""

USUAL_SCHEDULE = "cron(0 9 1-10 * ? *)"
"""Every day at 9:00 on days 1 to 10: FIPE publishes a month piece by piece over its first days."""

SERVERLESS = "db.serverless"

ENGINE_VERSIONS = ("17.4", "17.5", "17.6", "17.7", "17.9", "17.10", "17.11", "18.3", "18.4", "18.6")
"""Aurora skips some of PostgreSQL's versions. A test compares these with cfn-lint, which follows AWS."""

# PostgreSQL and RDS keep roles of their own, and so does create_fipe_db.sql.
_RESERVED_USERS = re.compile(r"admin|(rds|pg_|fipe_).*")
_WORDS = """
    all analyse analyze and any array as asc asymmetric both case cast check collate column constraint create
    current_catalog current_date current_role current_time current_timestamp current_user default deferrable
    desc distinct do else end except false fetch for foreign from grant group having in initially intersect
    into lateral leading limit localtime localtimestamp not null offset on only or order placing primary
    references returning select session_user some symmetric system_user table then to trailing true union
    unique user using variadic when where window with
"""
RESERVED_WORDS = frozenset(_WORDS.split())
"""PostgreSQL's; RDS accepts none of them as a user. A test compares them with pg_get_keywords()."""

# The CDK keeps its own keys in the context; they contain ':', '@' or '-', which settings never do.
_OWN_KEY = re.compile(r"[a-z0-9_]+", re.IGNORECASE)


class SettingsError(Exception):
    """The settings are wrong.

    Attributes:
        problems: one line per problem, which says what to do about it.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def _cidr(text: str, info: ValidationInfo) -> str:
    """Turns an address or a block into a CIDR block: `203.0.113.7` becomes `203.0.113.7/32`."""
    try:
        network = IPv4Network(text, strict=False)
    except (AddressValueError, NetmaskValueError) as error:
        raise ValueError(_("not an IPv4 address or CIDR block")) from error
    is_wide = network.prefixlen < WIDEST_PREFIX or network.network_address.is_unspecified
    if is_wide and not info.data.get("allow_the_world"):
        raise ValueError(
            _(
                "this opens the database to the world; blocks wider than /{prefix} need allow_the_world=true",
                prefix=WIDEST_PREFIX,
            )
        )
    if "/" in text and str(network.network_address) != text.partition("/")[0]:
        raise ValueError(
            _(
                "a block starts at its first address; use {network} for the block, or a single address",
                network=network,
            )
        )
    return str(network)


def _schedule(text: str) -> str:
    """Turns `on` into the usual schedule; checks `off` and expressions of EventBridge Scheduler."""
    if text == "on":
        return USUAL_SCHEDULE
    if text != "off" and not re.fullmatch(r"(cron|rate)\([^()]+\)", text):
        raise ValueError(_("not on, off, or an expression of EventBridge Scheduler"))
    return text


def _call_budget(text: str) -> str:
    """Checks for `max` or a number above zero; it stays a text, since functions read texts."""
    if text != "max" and not re.fullmatch(r"(?!0*\.?0*$)\d+(\.\d+)?", text):
        raise ValueError(_("not `max` or a number above 0"))
    return text


def _engine_version(text: str) -> str:
    if text not in ENGINE_VERSIONS:
        raise ValueError(_("no such version"))
    return text


def _database_user(text: str) -> str:
    """Checks that RDS accepts the name, and that it is not that of a role of our own."""
    if _RESERVED_USERS.fullmatch(text) or text in RESERVED_WORDS | {"none", "public"}:
        raise ValueError(_("a reserved name"))
    return text


class StageSettings(BaseModel):
    """The settings of one stage, with their defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: Literal["dev", "stg", "prd"] = Field(description="dev, stg or prd")
    vpc_id: str = Field(
        pattern=r"^vpc-[0-9a-f]{8,17}$",
        description="the VPC for the database, such as vpc-0a1b2c3d",
    )
    allow_the_world: bool = Field(
        default=False,
        description="true to accept an allowed_ip as wide as 0.0.0.0/0; then only TLS and the password"
        " protect the database",
    )
    allowed_ip: Annotated[str, AfterValidator(_cidr)] = Field(
        description="the address that may connect to the database, such as 203.0.113.7, or a block, such as"
        " 203.0.113.0/24"
    )
    cost_centre: str = Field(
        default="fipe",
        max_length=256,
        pattern=r"^[A-Za-z0-9_.:/=+@-]+$",
        description="the value of the cost-centre tag, without spaces",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="the lowest level that the functions log: DEBUG, INFO, WARNING or ERROR"
    )

    fipe_api_url: str = Field(
        default="https://veiculos.fipe.org.br/api/veiculos",
        pattern=r"^https?://[^/\s]+(/\S*)?$",
        description="the base URL of a server that speaks FIPE's API",
    )
    calls_per_minute: Annotated[str, BeforeValidator(str), AfterValidator(_call_budget)] = Field(
        default="40", description="the calls per minute of all functions together, or `max` for no limit"
    )
    blocked_rest_seconds: float = Field(
        default=120,
        gt=0,
        le=1800,
        description="the pause after the source blocks this address, in seconds, up to 1800; it doubles up"
        " to 1800 while the block lasts",
    )
    parallelum_url: str = Field(
        default="https://fipe.parallelum.com.br/api/v2",
        pattern=r"^https?://[^/\s]+(/\S*)?$",
        description="the base URL of a server that speaks Parallelum's API v2",
    )
    parallelum_calls_per_day: int = Field(
        default=0,
        ge=0,
        le=1_000_000,
        description="the calls per day to the mirror Parallelum while FIPE blocks this address: 0 for none,"
        " 500 without a token, 1000 with a free one",
    )
    parallelum_token_secret_arn: str = Field(
        default="",
        pattern=r"^(arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:\d{12}:secret:\S+)?$",
        description="the ARN of a secret in Secrets Manager that holds only Parallelum's token",
    )

    database_name: str = Field(
        default="fipedata",
        pattern=r"^[a-z][a-z0-9_]{0,62}$",
        description="the name of the database: lower-case letters, digits and underscores",
    )
    database_user: Annotated[str, AfterValidator(_database_user)] = Field(
        default="postgres",
        pattern=r"^[a-z][a-z0-9_]{0,62}$",
        description="the name of the master user: lower-case letters, digits and underscores; not admin, a"
        " reserved word of PostgreSQL, or a name that begins with rds, pg_ or fipe_",
    )
    database_subnets: Literal["auto", "isolated", "private", "public"] = Field(
        default="auto",
        description="isolated, private, public (reachable from outside the VPC), or auto for the first of"
        " these that the VPC has",
    )
    excluded_zones: str = Field(
        default="",
        pattern=r"^([a-z0-9-]+(,[a-z0-9-]+)*)?$",
        description="the availability zones to avoid, such as us-east-1e,us-east-1f",
    )
    instance_class: str = Field(
        default="db.t3.medium",
        pattern=r"^db\.([a-z0-9]+\.[a-z0-9]+|serverless)$",
        description="an instance class such as db.t3.medium, or db.serverless",
    )
    serverless_min_acu: float = Field(
        default=0,
        ge=0,
        le=256,
        multiple_of=0.5,
        description="the lowest capacity of db.serverless, 0 to 256 in steps of 0.5 (1 ACU has 2 GiB); 0"
        " lets it pause",
    )
    serverless_max_acu: float = Field(
        default=4,
        ge=1,
        le=256,
        multiple_of=0.5,
        description="the highest capacity of db.serverless, 1 to 256 in steps of 0.5",
    )
    serverless_pause_minutes: int = Field(
        default=5,
        ge=5,
        le=1440,
        description="the minutes without a connection before db.serverless pauses, 5 to 1440",
    )
    engine_version: Annotated[str, AfterValidator(_engine_version)] = Field(
        default="17.11",
        description=f"a version of Aurora PostgreSQL: {', '.join(ENGINE_VERSIONS[:-1])} or"
        f" {ENGINE_VERSIONS[-1]}",
    )
    database_tls: Literal["auto", "require", "verify-full"] = Field(
        default="auto",
        description="verify-full (the functions check the database's certificate), require (they only"
        " encrypt), or auto (verify-full if the layer has the RDS certificates)",
    )
    reader_login: Literal["off", "on"] = Field(
        default="off",
        description="on for a role with a password, which can only read, for programs such as Metabase, Power"
        " BI and Excel",
    )
    export_bucket: str = Field(
        default="",
        pattern=r"^([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])?$",
        description="the name of your own bucket in the same region: each complete month is written there as"
        " Parquet",
    )
    s3_endpoint: Literal["create", "existing"] = Field(
        default="create",
        description="how export_bucket is reached: create (a free S3 gateway endpoint in the VPC), or"
        " existing if the VPC has one",
    )
    backup_days: int = Field(default=7, ge=1, le=35, description="the days to keep backups, 1 to 35")

    # A loader keeps 10 s for its results and 20 s for a call that hangs. In the rest it makes up to three
    # attempts, each in its turn. The ingestor may need 12 s to find its connection dead, 60 s for another.
    function_timeout_seconds: int = Field(
        default=300, ge=90, le=900, description="the timeout of a function in seconds, 90 to 900"
    )
    batch_size: int = Field(
        default=10, ge=1, le=10_000, description="the messages per invocation, 1 to 10000"
    )
    batching_window_seconds: int = Field(
        default=30,
        ge=0,
        le=300,
        description="the longest wait for a full batch in seconds, 0 to 300; at least 1 if batch_size is"
        " above 10",
    )
    model_concurrency: int = Field(
        default=2,
        ge=2,
        le=1000,
        description="the number of FipeModelLoader functions that run at a time, 2 (the minimum on AWS) to"
        " 1000",
    )
    price_concurrency: int = Field(
        default=2,
        ge=2,
        le=1000,
        description="the number of FipePriceLoader functions that run at a time, 2 (the minimum on AWS) to"
        " 1000",
    )
    ingestor_concurrency: int = Field(
        default=2,
        ge=2,
        le=1000,
        description="the number of FipeSomaIngestor functions that run at a time, 2 (the minimum on AWS) to"
        " 1000",
    )
    max_receive_count: int = Field(
        default=5,
        ge=1,
        le=1000,
        description="the attempts before a failing message moves to the DLQ, 1 to 1000",
    )
    retry_delay_seconds: int = Field(
        default=30,
        ge=0,
        le=900,
        description="the delay before a failed message is tried again, in seconds, 0 to 900; it doubles with"
        " each attempt",
    )
    retention_days: int = Field(
        default=4, ge=1, le=14, description="the days that a queue keeps a message, 1 to 14"
    )
    dlq_retention_days: int = Field(
        default=14, ge=1, le=14, description="the days that a DLQ keeps a message, 1 to 14"
    )

    schedule: Annotated[str, AfterValidator(_schedule)] = Field(
        default="off",
        description="off, on (every day at 9:00 Brasília time, days 1 to 10 of each month), or an expression"
        " of EventBridge Scheduler such as cron(0 9 1-10 * ? *)",
    )
    api: Literal["off", "on"] = Field(
        default="off",
        description="on for FipeQuery, the prices over HTTP (docs/api.md), or off",
    )
    api_concurrency: int = Field(
        default=10,
        ge=1,
        le=1000,
        description="the number of questions that FipeQuery answers at a time, 1 to 1000; each takes a"
        " connection to the database, and Lambda reserves the executions for it",
    )
    alarm_email: str = Field(
        default="",
        pattern=r"^([^@\s]+@[^@\s]+\.[^@\s]+)?$",
        description="the address for alarms, such as me@example.com; AWS sends it a link to confirm first",
    )
    webhook_url: str = Field(
        default="",
        # Only what runs on the same machine needs no TLS. From AWS, such an address reaches nothing.
        pattern=r"^(https://[^/\s@]+(/\S*)?|http://(localhost|127\.0\.0\.1)(:\d+)?(/\S*)?"
        r"|arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:\d{12}:secret:\S+)?$",
        description="the https address that gets each announcement, or, where the address itself is a"
        " secret, the ARN of a secret in Secrets Manager that holds only it",
    )
    webhook_secret_arn: str = Field(
        default="",
        pattern=r"^(arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:\d{12}:secret:\S+)?$",
        description="the ARN of a secret in Secrets Manager that holds only the key of the webhook's"
        " signatures, whsec_ and 24 to 64 bytes in base64",
    )
    webhook_format: Literal["json", "slack", "teams"] = Field(
        default="json",
        description="what the webhook gets: json (the document), slack (its text) or teams (its text, as an"
        " Adaptive Card)",
    )
    stalled_hours: int = Field(
        default=3,
        ge=1,
        le=24,
        description="the hours without a new price after which a load counts as stalled, and that is told,"
        " 1 to 24",
    )
    database_alarm_gib: int = Field(
        default=20,
        ge=1,
        le=131_072,
        description="the size of the database in GiB that triggers an alarm",
    )

    @property
    def pauses(self) -> bool:
        """Whether the database pauses when nobody is connected."""
        return self.is_serverless and self.serverless_min_acu == 0

    @property
    def is_serverless(self) -> bool:
        """Whether the database is Aurora Serverless v2, whose capacity follows the demand."""
        return self.instance_class == SERVERLESS

    @property
    def keeps_data(self) -> bool:
        """Whether the data is protected from deletion: only in prd. One command removes the other stages."""
        return self.stage == "prd"

    @model_validator(mode="after")
    def _settings_fit_together(self) -> Self:
        if self.dlq_retention_days < self.retention_days:
            raise ValueError(
                _(
                    "invalid dlq_retention_days={days}: use at least retention_days={least}; a message keeps"
                    " its age when it moves to the DLQ, so SQS would delete it too early",
                    days=self.dlq_retention_days,
                    least=self.retention_days,
                )
            )
        if self.serverless_min_acu > self.serverless_max_acu:
            raise ValueError(
                _(
                    "invalid serverless_min_acu={least}: use at most serverless_max_acu={most}",
                    least=f"{self.serverless_min_acu:g}",
                    most=f"{self.serverless_max_acu:g}",
                )
            )
        if (self.webhook_secret_arn or self.webhook_format != "json") and not self.webhook_url:
            raise ValueError(_("webhook_url is missing: webhook_secret_arn and webhook_format need it"))
        if self.batch_size > 10 and self.batching_window_seconds == 0:
            raise ValueError(
                _(
                    "invalid batch_size={size}: use at most 10, or a batching_window_seconds of at least 1",
                    size=self.batch_size,
                )
            )
        return self

    @classmethod
    def from_context(cls, context: Mapping[str, Any]) -> "StageSettings":
        """Reads the settings from a CDK context, which has other keys as well. An empty text means not given.

        Raises:
            SettingsError: lists every problem, one line each.
        """
        given = {key: value for key, value in context.items() if _OWN_KEY.fullmatch(key) and value != ""}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise SettingsError([_line(problem) for problem in error.errors()]) from error


def _line(problem: ErrorDetails) -> str:
    """Puts a pydantic error into one line: the setting, its value, what is wrong, what to use instead."""
    message = problem["msg"].removeprefix("Value error, ")
    if not problem["loc"]:
        return message
    name = str(problem["loc"][0])
    if problem["type"] == "extra_forbidden":
        close = difflib.get_close_matches(name, StageSettings.model_fields, n=1)
        if close:
            return _("unknown setting {name}: did you mean {close}?", name=name, close=close[0])
        return _("unknown setting {name}: docs/settings.md lists all", name=name)
    said = {"name": name, "description": _(StageSettings.model_fields[name].description or "")}
    if problem["type"] == "missing":
        return _("{name} is missing: give {description}", **said)
    value = problem["input"]
    # The description already states patterns and ranges; only our own validators add something to it.
    if problem["type"] == "value_error":
        return _("invalid {name}={value}: {trouble}; use {description}", **said, value=value, trouble=message)
    return _("invalid {name}={value}: use {description}", **said, value=value)
