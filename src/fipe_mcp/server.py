"""The server of the tools, whose errors are one line each.

Source: Model Context Protocol, Specification, "Tools": an error that an assistant can correct is a result
with isError, not an error of the protocol.
"""

import logging
from importlib.metadata import version
from inspect import getdoc
from typing import Any

import pydantic_core
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import CallToolResult, TextContent, ToolAnnotations
from pydantic import ValidationError

from fipe_mcp.tools import Tools
from fipe_query.connections import Pool
from fipe_query.failures import failure_of

INSTRUCTIONS = (
    "Prices of the FIPE table, Brazil's reference prices of cars, motorcycles and trucks, month by month, in"
    " reais. Begin with `search`, which finds FIPE codes; then ask `price`, `history` or `valuation`."
)
READ_ONLY = ToolAnnotations(read_only_hint=True, open_world_hint=False)


class PriceServer(MCPServer[Any]):
    """Answers assistants.

    Args:
        pool: answers their questions.
    """

    def __init__(self, pool: Pool) -> None:
        # Before the SDK does it, in colours and boxes.
        logging.basicConfig(level=logging.WARNING, format="%(message)s")
        super().__init__(
            "fipe",
            title="FIPE",
            instructions=INSTRUCTIONS,
            version=version("fipe-data-api"),
            log_level="WARNING",
            subscriptions=False,
        )
        tools = Tools(pool)
        for tool in (tools.search, tools.price, tools.history, tools.valuation, tools.months):
            self.add_tool(tool, description=getdoc(tool), annotations=READ_ONLY)

    async def call_tool(self, name: str, arguments: dict[str, Any], context: Any = None) -> Any:
        """The answer of a tool. Raises ToolError with one line that an assistant can use."""
        known = self._arguments_of(name)
        unknown = sorted(set(arguments) - set(known)) if known else []
        if unknown:
            raise ToolError(f"unknown argument {_short(unknown[0])}: {name} takes {', '.join(known)}")
        try:
            result = await super().call_tool(name, arguments, context)
        except ToolError as error:
            raise ToolError(_in_one_line(error, known)) from None
        assert isinstance(result, CallToolResult)
        # Without the SDK's indentation: an assistant reads each blank.
        text = pydantic_core.to_json(result.structured_content).decode()
        return CallToolResult(
            content=[TextContent(type="text", text=text)], structured_content=result.structured_content
        )

    def _arguments_of(self, name: str) -> dict[str, Any]:
        """The arguments of a tool, with their schemas; none if there is no such tool."""
        return dict((self._tool_input_schema(name) or {}).get("properties", {}))


def _in_one_line(error: ToolError, arguments: dict[str, Any]) -> str:
    cause = error.__cause__
    if isinstance(cause, ValidationError):
        return "; ".join(_invalid(each, arguments) for each in cause.errors()[:5])
    if isinstance(cause, ToolError):
        return str(cause)
    return failure_of(cause).detail if isinstance(cause, Exception) else _short(str(error))


def _invalid(wrong: Any, arguments: dict[str, Any]) -> str:
    first, *inner = wrong["loc"]
    said = wrong["msg"] if inner else arguments[first]["description"]
    return f"invalid {'.'.join(map(str, wrong['loc']))}: {said}"


def _short(text: str) -> str:
    return " ".join(text.split())[:100]
