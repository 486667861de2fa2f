"""Who asks: what every other package may know of an authenticated caller."""

from dataclasses import dataclass

from models.identity import Role, Scope


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller: a person with a session, or a program with an API key."""

    user_id: str
    principal_id: str
    """Who is recorded as the requester: the user id, or the API key's id that acts for the user."""
    roles: frozenset[Role] = frozenset()
    scopes: frozenset[Scope] | None = None
    """What an API key may do; None for a session, which may do all that its user may."""
    session_id: str | None = None
    second_factor_enabled: bool = False

    @property
    def is_session(self) -> bool:
        """Tell whether a person's login stands behind this, not an API key."""
        return self.scopes is None

    def has_scope(self, scope: Scope) -> bool:
        """Tell whether this caller may do what the scope names."""
        return self.scopes is None or scope in self.scopes

    def has_role(self, *roles: Role) -> bool:
        """Tell whether the user holds at least one of these roles."""
        return not self.roles.isdisjoint(roles)
