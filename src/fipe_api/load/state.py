"""How far a load has come, in the words of the ledger, the commands, the metrics, the alarms and the report.

The ledger decides (fipe.load_state in create_fipe_db.sql); everything else repeats its word.
"""

from enum import StrEnum


class LoadState(StrEnum):
    """What the ledger says of a load."""

    LOADING = "loading"
    """Results are still to arrive."""

    COMPLETE = "complete"
    """Every price that FIPE lists has arrived, or FIPE denied it nine times."""

    INCOMPLETE = "incomplete"
    """All results have arrived, but some prices had no usable answer; or results were lost."""

    CANCELLED = "cancelled"
    """`fipe cancel` ended it before everything had arrived. What came stays; `fipe resume` loads the rest."""

    @property
    def metric(self) -> str:
        """Counts the loads that end like this."""
        return f"Loads{self.title()}"
