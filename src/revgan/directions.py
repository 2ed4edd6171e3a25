"""The two domains and the two directions between them, as named in files and options."""

from typing import Literal, get_args

DomainName = Literal["a", "b"]
DOMAINS: tuple[DomainName, ...] = get_args(DomainName)

Direction = Literal["AtoB", "BtoA"]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)


def ends(direction: Direction) -> tuple[DomainName, DomainName]:
    """The domains that a direction translates from and to."""
    return ("a", "b") if direction == "AtoB" else ("b", "a")


def other(domain: DomainName) -> DomainName:
    """The other domain."""
    return "b" if domain == "a" else "a"


def back(direction: Direction) -> Direction:
    """The other direction."""
    return "BtoA" if direction == "AtoB" else "AtoB"


def round_trip(direction: Direction) -> str:
    """The domains passed through there and back: "AtoBtoA" or "BtoAtoB"."""
    return f"{direction}to{direction[0]}"
