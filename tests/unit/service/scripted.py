"""A broker that answers what a test tells it to, for what no simulator would do."""

from collections.abc import Callable

from support.house import House

from broker_tokens.announcer import Announcer
from broker_tokens.model import TokenReply
from broker_tokens.secrets import Secret
from broker_tokens.service import TokenService
from broker_tokens.settings import load_settings
from broker_tokens.store import TokenStore


class ScriptedBroker:
    """Keeps what was asked; `refresh_with` and `life` are what it does then."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.shown: list[str] = []  # the tokens it was to judge
        self.refresh_with: Callable[[], TokenReply] = lambda: _fail()
        self.life: Callable[[], None] = lambda: None
        self.approve_with: Callable[[], object] = lambda: _fail()
        self.owner = "SIM001"

    def authorization_url(self, state=None):
        return "https://login.example/"

    def refresh(self, refresh_token: Secret) -> TokenReply:
        self.asked.append(f"refresh {refresh_token.reveal()}")
        return self.refresh_with()

    def exchange_code(self, code: Secret) -> TokenReply:
        self.asked.append(f"code {code.reveal()}")
        return self.refresh_with()

    def check_life(self, token: Secret) -> None:
        self.asked.append("life")
        self.shown.append(token.reveal())
        self.life()

    def last_price(self, token: Secret) -> float:
        self.check_life(token)
        return 26012.45

    def market_days(self, exchange, today, token, known):
        return {}

    def request_approval(self):
        self.asked.append("approval")
        return self.approve_with()

    def user_id(self, token: Secret) -> str:
        self.shown.append(token.reveal())
        return self.owner

    def service(self, house: House, **options) -> TokenService:
        """Return a service of this house that talks to this broker."""

        def configure(values):
            return load_settings(values, {}), self

        store = TokenStore(str(house.env_file))
        announcer = Announcer(options.pop("observers", [house.events.append]))
        return TokenService(store, configure, house.clock, announcer, lambda: 0.0, **options)


def _fail() -> TokenReply:
    raise AssertionError("the broker was not to be asked")
