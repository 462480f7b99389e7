"""The options of `fipe watch`. Apart from what it does, so that other commands start soon."""

from typing import Annotated

import typer

Code = Annotated[str, typer.Argument(metavar="CODE", help="The FIPE code: 038003-2 or 0380032.")]
Year = Annotated[str, typer.Option(help="The model year, as 2020, or 0km; all by default.")]
Fuel = Annotated[str, typer.Option(help="The fuel, as flex or diesel; all by default.")]
Below = Annotated[str, typer.Option(help="A price below this one, in reais: 10000 or 10.000,00.")]
Above = Annotated[str, typer.Option(help="A price above this one, in reais.")]
Change = Annotated[
    str,
    typer.Option(help="A price that rose or fell by at least so many percent since the month before: 5%."),
]
Note = Annotated[str, typer.Option(help="What to remember: it stands beside what is announced.")]
Rules = Annotated[list[int], typer.Argument(metavar="RULE...", help="Their numbers in `fipe watch list`.")]
