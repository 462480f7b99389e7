"""The options of `fipe serve`. Apart from what it does, so that other commands start soon."""

from typing import Annotated

import typer

Host = Annotated[
    str, typer.Option(help="The address to listen on; only this machine reaches the default one.")
]
Port = Annotated[int, typer.Option(help="The port to listen on; 0 for any free one.", min=0, max=65_535)]
