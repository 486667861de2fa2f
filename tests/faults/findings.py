"""What is wrong after a storm."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Findings:
    """What is wrong; each number must be zero."""

    duplicates: int = 0
    lost: int = 0
    unbalanced: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Tell whether nothing is wrong."""
        return not (self.duplicates or self.lost or self.unbalanced)

    def add_all(self, other: "Findings") -> None:
        """Count what another has found."""
        self.duplicates += other.duplicates
        self.lost += other.lost
        self.unbalanced += other.unbalanced
        self.notes += other.notes

    def add(
        self,
        *,
        duplicates: Sequence[str] = (),
        lost: Sequence[str] = (),
        unbalanced: Sequence[str] = (),
    ) -> None:
        """Count notes, each as one of its kind."""
        self.duplicates += len(duplicates)
        self.lost += len(lost)
        self.unbalanced += len(unbalanced)
        self.notes += [*duplicates, *lost, *unbalanced]
