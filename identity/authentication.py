"""From a bearer token to who asks."""

from domain.errors import SessionExpiredError
from identity.api_keys import ApiKeys
from identity.principals import Principal
from identity.sessions import Sessions
from identity.tokens import API_KEY_PREFIX, SESSION_PREFIX


class Authentication:
    """Resolves both kinds of bearer token."""

    def __init__(self, sessions: Sessions, api_keys: ApiKeys) -> None:
        """Take the two places where tokens are issued."""
        self._sessions = sessions
        self._api_keys = api_keys

    async def resolve(self, token: str) -> Principal:
        """
        Return who holds this token.

        Raises:
            SessionExpiredError: No valid session or API key.
        """
        if token.startswith(SESSION_PREFIX):
            return await self._sessions.resolve(token)
        if token.startswith(API_KEY_PREFIX):
            return await self._api_keys.resolve(token)
        raise SessionExpiredError
