"""The settings of one stage: every knob of the application, checked before anything is synthesized.

Each is a key of the CDK context: `cdk deploy --context stage=dev --context vpc_id=vpc-0a1b2c3d ...`.
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

WIDEST_PREFIX = 8
"""The widest block of addresses that may reach the database: 10.0.0.0/8, the largest private network."""

USUAL_SCHEDULE = "cron(0 9 1-10 * ? *)"
"""Daily at nine in the first ten days of a month: a month fills up over its first days."""

SERVERLESS = "db.serverless"

# The context also holds what the CDK keeps there; its keys contain ':', '@' or '-'.
_OWN_KEY = re.compile(r"[a-z0-9_]+", re.IGNORECASE)


class SettingsError(Exception):
    """What is wrong with the settings.

    Attributes:
        problems: one line each, with what to do about it.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def _cidr(text: str, info: ValidationInfo) -> str:
    """An address or a block of addresses as a CIDR block: `203.0.113.7` becomes `203.0.113.7/32`."""
    try:
        network = IPv4Network(text, strict=False)
    except (AddressValueError, NetmaskValueError) as error:
        raise ValueError("not an IPv4 address or CIDR block") from error
    is_wide = network.prefixlen < WIDEST_PREFIX or network.network_address.is_unspecified
    if is_wide and not info.data.get("allow_the_world"):
        raise ValueError(
            f"would open the database to the world; /{WIDEST_PREFIX} is the widest block taken without"
            " allow_the_world=true"
        )
    if "/" in text and str(network.network_address) != text.partition("/")[0]:
        raise ValueError(f"a block begins at its first address; {network} or a single address is meant")
    return str(network)


def _schedule(text: str) -> str:
    """`off`, or an expression of EventBridge Scheduler; `on` is the usual one."""
    if text == "on":
        return USUAL_SCHEDULE
    if text != "off" and not re.fullmatch(r"(cron|rate)\([^()]+\)", text):
        raise ValueError("neither on nor off, nor an expression of EventBridge Scheduler")
    return text


def _call_budget(text: str) -> str:
    """`max`, or a number above zero; kept as the text that the functions read."""
    if text != "max" and not re.fullmatch(r"(?!0*\.?0*$)\d+(\.\d+)?", text):
        raise ValueError("neither a number above 0 nor `max`")
    return text


class StageSettings(BaseModel):
    """The settings of one stage, as given by the CDK context, with their defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: Literal["dev", "stg", "prd"] = Field(description="dev, stg or prd")
    vpc_id: str = Field(
        pattern=r"^vpc-[0-9a-f]{8,17}$",
        description="the VPC to put the database in, for example vpc-0a1b2c3d",
    )
    allow_the_world: bool = Field(
        default=False,
        description="true to take an allowed_ip as wide as 0.0.0.0/0, where only TLS and the password guard"
        " the database",
    )
    allowed_ip: Annotated[str, AfterValidator(_cidr)] = Field(
        description="the address that may reach the database, like 203.0.113.7, or a block of them, like"
        " 203.0.113.0/24"
    )
    cost_centre: str = Field(
        default="fipe",
        max_length=256,
        pattern=r"^[A-Za-z0-9_.:/=+@-]+$",
        description="the value of the tag cost-centre",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="the least that the functions log: DEBUG, INFO, WARNING or ERROR"
    )

    fipe_api_url: str = Field(
        default="https://veiculos.fipe.org.br/api/veiculos",
        pattern=r"^https?://[^/\s]+(/\S*)?$",
        description="the base URL of a server that speaks FIPE's API",
    )
    calls_per_minute: Annotated[str, BeforeValidator(str), AfterValidator(_call_budget)] = Field(
        default="40", description="the calls a minute for the whole load, or `max` for no limit"
    )
    blocked_rest_seconds: float = Field(
        default=120,
        gt=0,
        le=1800,
        description="the first pause after the source blocked the address, in seconds up to 1800, to which it"
        " doubles while the block lasts",
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
        description="the calls a day that Parallelum may be asked while FIPE blocks the address: 0 for none,"
        " 500 without a token, 1000 with a free one",
    )
    parallelum_token_secret_arn: str = Field(
        default="",
        pattern=r"^(arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:\d{12}:secret:\S+)?$",
        description="the ARN of a secret in Secrets Manager that holds Parallelum's token and nothing else",
    )

    database_name: str = Field(
        default="fipedata",
        pattern=r"^[a-z][a-z0-9_]{0,62}$",
        description="the name of the database: letters, digits, underscores",
    )
    database_user: str = Field(
        default="postgres",
        pattern=r"^[a-z][a-z0-9_]{0,62}$",
        description="the name of the master user: letters, digits, underscores",
    )
    database_subnets: Literal["auto", "isolated", "private", "public"] = Field(
        default="auto",
        description="auto (the most closed kind there is), isolated, private or public (open to outside)",
    )
    excluded_zones: str = Field(
        default="",
        pattern=r"^([a-z0-9-]+(,[a-z0-9-]+)*)?$",
        description="the availability zones to keep out of, like us-east-1e,us-east-1f",
    )
    instance_class: str = Field(
        default="db.t3.medium",
        pattern=r"^db\.([a-z0-9]+\.[a-z0-9]+|serverless)$",
        description="an instance class like db.t3.medium, or db.serverless",
    )
    serverless_min_acu: float = Field(
        default=0,
        ge=0,
        le=256,
        multiple_of=0.5,
        description="the least capacity of db.serverless in steps of 0.5 (2 GiB make 1); 0 lets it pause",
    )
    serverless_max_acu: float = Field(
        default=4,
        ge=1,
        le=256,
        multiple_of=0.5,
        description="the most capacity of db.serverless, 1 to 256 in steps of 0.5",
    )
    serverless_pause_minutes: int = Field(
        default=5, ge=5, le=1440, description="the idle minutes until db.serverless pauses, 5 to 1440"
    )
    engine_version: str = Field(
        default="17.9",
        pattern=r"^1[78]\.\d{1,2}$",
        description="a version 17 or 18 of Aurora PostgreSQL that `aws rds describe-db-engine-versions"
        " --engine aurora-postgresql` lists",
    )
    database_tls: Literal["auto", "require", "verify-full"] = Field(
        default="auto",
        description="verify-full (the functions check the database's certificate), require (they only"
        " encrypt), or auto (verify-full when the layer has RDS's certificates)",
    )
    backup_days: int = Field(default=7, ge=1, le=35, description="the days that backups are kept, 1 to 35")

    function_timeout_seconds: int = Field(
        default=300, ge=30, le=900, description="the longest run of a function in seconds, 30 to 900"
    )
    batch_size: int = Field(default=10, ge=1, le=10_000, description="the messages an invocation, 1 to 10000")
    batching_window_seconds: int = Field(
        default=30, ge=0, le=300, description="the longest wait for a full batch in seconds, 0 to 300"
    )
    model_concurrency: int = Field(
        default=2,
        ge=2,
        le=1000,
        description="how many FipeModelLoader run at a time, 2 (AWS takes no less) to 1000",
    )
    price_concurrency: int = Field(
        default=2,
        ge=2,
        le=1000,
        description="how many FipePriceLoader run at a time, 2 (AWS takes no less) to 1000",
    )
    ingestor_concurrency: int = Field(
        default=2,
        ge=2,
        le=1000,
        description="how many FipeSomaIngestor run at a time, 2 (AWS takes no less) to 1000",
    )
    max_receive_count: int = Field(
        default=5,
        ge=1,
        le=1000,
        description="the receives before a failing message goes to the DLQ, 1 to 1000",
    )
    retry_delay_seconds: int = Field(
        default=30, ge=0, le=900, description="the first delay of a failed message in seconds, 0 to 900"
    )
    retention_days: int = Field(
        default=4, ge=1, le=14, description="the days that a queue keeps a message, 1 to 14"
    )
    dlq_retention_days: int = Field(
        default=14, ge=1, le=14, description="the days that a DLQ keeps a message, 1 to 14"
    )

    schedule: Annotated[str, AfterValidator(_schedule)] = Field(
        default="off",
        description="off, on (daily at 9:00 in Brazil on the days 1 to 10 of each month), or an expression of"
        " EventBridge Scheduler like cron(0 9 1-10 * ? *)",
    )
    alarm_email: str = Field(
        default="",
        pattern=r"^([^@\s]+@[^@\s]+\.[^@\s]+)?$",
        description="the address that alarms are sent to, like me@example.com; AWS asks it to confirm first",
    )
    stalled_hours: int = Field(
        default=3,
        ge=1,
        le=24,
        description="the hours without a price, while messages wait, that make a load stalled, 1 to 24",
    )
    database_alarm_gib: int = Field(
        default=20,
        ge=1,
        le=131_072,
        description="the size of the database in GiB that raises an alarm",
    )

    @property
    def is_serverless(self) -> bool:
        """Whether the database's capacity follows its load."""
        return self.instance_class == SERVERLESS

    @property
    def keeps_data(self) -> bool:
        """Whether losing the database would hurt: production is protected, other stages can be removed."""
        return self.stage == "prd"

    @model_validator(mode="after")
    def _settings_fit_together(self) -> Self:
        if self.dlq_retention_days < self.retention_days:
            raise ValueError(
                f"dlq_retention_days={self.dlq_retention_days}: less than retention_days="
                f"{self.retention_days}; a message's age counts from when it was first sent, so that it would"
                " be deleted on its way to the DLQ"
            )
        if self.serverless_min_acu > self.serverless_max_acu:
            raise ValueError(
                f"serverless_min_acu={self.serverless_min_acu:g}: more than serverless_max_acu="
                f"{self.serverless_max_acu:g}"
            )
        if self.batch_size > 10 and self.batching_window_seconds == 0:
            raise ValueError(
                f"batch_size={self.batch_size}: AWS takes more than 10 only when batching_window_seconds is"
                " at least 1"
            )
        return self

    @classmethod
    def from_context(cls, context: Mapping[str, Any]) -> "StageSettings":
        """The settings in a CDK context, which holds other things as well. An empty text counts as not given.

        Raises:
            SettingsError: with every problem, one line each.
        """
        given = {key: value for key, value in context.items() if _OWN_KEY.fullmatch(key) and value != ""}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise SettingsError([_line(problem) for problem in error.errors()]) from error


def _line(problem: ErrorDetails) -> str:
    """A pydantic error in one line that names the setting, the value, the trouble and the mend."""
    message = problem["msg"].removeprefix("Value error, ")
    if not problem["loc"]:
        return message
    name = str(problem["loc"][0])
    if problem["type"] == "extra_forbidden":
        close = difflib.get_close_matches(name, StageSettings.model_fields, n=1)
        return f"{name} is not a setting" + (f"; {close[0]} is" if close else "")
    description = StageSettings.model_fields[name].description
    if problem["type"] == "missing":
        return f"{name} is missing; give {description}"
    # What pydantic says of a pattern or a range, the description says better.
    trouble = f": {message}" if problem["type"] == "value_error" else ""
    return f"{name}={problem['input']} is refused{trouble}; give {description}"
