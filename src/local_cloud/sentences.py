"""How sentences are printed: whole words on a terminal, whole lines anywhere else."""

from rich.console import Console


def console_of_sentences(*, stderr: bool = False) -> Console:
    """A console that breaks lines between words on a terminal, and never in a file or a pipe."""
    console = Console(stderr=stderr, highlight=False)
    console.soft_wrap = not console.is_terminal
    return console
