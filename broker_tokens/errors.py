"""Every error a user can meet: one sentence of cause, one of advice, one exit code.

Exit codes: 1 a defect of ours, 2 wrong usage, 75 temporary, 77 a person must act, 78 configuration
(the numbers are those of sysexits.h: EX_TEMPFAIL, EX_NOPERM, EX_CONFIG).
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import timedelta

EXIT_OK = 0
EXIT_DEFECT = 1
EXIT_USAGE = 2
EXIT_TEMPORARY = 75
EXIT_PERSON = 77
EXIT_CONFIGURATION = 78


class TokenError(Exception):
    """The root of all errors raised on purpose; `str()` is the cause followed by the advice."""

    exit_code = EXIT_DEFECT

    def __init__(self, cause: str, advice: str = "") -> None:
        super().__init__(cause, advice)
        self.cause = cause
        self.advice = advice

    def __str__(self) -> str:
        return f"{self.cause} {self.advice}".strip()


class LoginRequired(TokenError):
    """No token and no way to one without a person; `login_url` is where that person starts."""

    exit_code = EXIT_PERSON

    def __init__(self, cause: str, advice: str = "", *, login_url: str = "") -> None:
        super().__init__(cause, advice)
        self.login_url = login_url


class TokenRejected(TokenError):
    """The broker refuses this token, code or refresh token for good; repeating cannot help."""

    exit_code = EXIT_PERSON


class ConfigurationError(TokenError):
    """A setting, a credential or the app itself is wrong; the message names which."""

    exit_code = EXIT_CONFIGURATION


class StoreError(TokenError):
    """The `.env` or a file beside it cannot be read or written; the old content is kept."""

    exit_code = EXIT_CONFIGURATION

    def __init__(self, cause: str, advice: str = "", *, temporary: bool = False) -> None:
        super().__init__(cause, advice)
        if temporary:
            self.exit_code = EXIT_TEMPORARY


class TemporaryFailure(TokenError):
    """Worth another try: network, TLS, rate limit, 5xx, a reply that makes no sense.

    `retry_after` is how long the broker, or our own backoff, asks to wait (None: not said).
    `request_sent` is False only when it is certain that the broker never received the request.
    """

    exit_code = EXIT_TEMPORARY

    def __init__(
        self,
        cause: str,
        advice: str = "",
        *,
        retry_after: "timedelta | None" = None,
        request_sent: bool = True,
    ) -> None:
        super().__init__(cause, advice)
        self.retry_after = retry_after
        self.request_sent = request_sent
