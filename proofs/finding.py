"""What a proof came to."""

from dataclasses import dataclass, field

# Of many failures the first few tell what is wrong.
_SHOWN = 5


@dataclass
class Finding:
    """What was tried how often, what was survived, and every promise seen broken."""

    tried: str = ""
    survived: str = ""
    broken: list[str] = field(default_factory=list)

    @property
    def lost(self) -> str:
        """What was lost, in words; "nothing" if the promise held."""
        shown = "; ".join(self.broken[:_SHOWN])
        more = f" and {len(self.broken) - _SHOWN:,} more" if len(self.broken) > _SHOWN else ""
        return shown + more or "nothing"
