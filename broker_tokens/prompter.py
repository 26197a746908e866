"""Whom the service turns to when nothing silent helps: the phone, and the person behind it."""

from dataclasses import replace
from datetime import datetime, timedelta

from broker_tokens.brokers import OutcomeUnknown
from broker_tokens.errors import ConfigurationError, StoreError, TemporaryFailure, TokenError
from broker_tokens.expiry import next_cut
from broker_tokens.look import Look
from broker_tokens.lookout import TokenLookout
from broker_tokens.model import AppRefused, ApprovalAsked, PersonNeeded, RenewalFailed, Stage, Way
from broker_tokens.policy import AskApproval
from broker_tokens.renewals import phone_approval
from broker_tokens.stages import DayStage
from broker_tokens.store import Writer

# A failure that the person is being told of at this moment is not told again as an older one.
_JUST_NOW = timedelta(minutes=1)


class TokenPrompter(TokenLookout):
    """Has the phone asked, and tells the person what is needed of them, each thing once."""

    _told_unnoted: datetime | None = None
    _trouble: str = ""

    def ask_phone(self) -> ApprovalAsked:
        """Have the broker ask the person's phone for approval now, asked today or not.

        Raises ConfigurationError if the app or its credentials are refused, TemporaryFailure.
        """
        look = self.look()
        session = look.rules.calendar.coming_session(look.now)
        with self._attempt_by(Way.PHONE_APPROVAL), self._store.writing() as writer:
            event = self._ask_phone(writer, self._look(writer), Stage.ASK, session.opens)
        self._tell(event)
        return event

    def _ask_phone_if_due(self) -> None:
        with self._attempt_by(Way.PHONE_APPROVAL), self._store.writing() as writer:
            look = self._look(writer)
            decision = look.decision
            if not isinstance(decision, AskApproval):
                return
            event = self._ask_phone(writer, look, decision.stage, decision.session.opens)
            # The notice of this stands for the notice of the stage.
            writer.save_state(replace(writer.load().state, told=decision.due_at))
        self._tell(event)

    def _ask_phone(
        self, writer: Writer, look: Look, stage: Stage, opens: datetime
    ) -> ApprovalAsked:
        is_certain, elsewhere = True, ""
        try:
            reply = phone_approval.ask(writer, look, self._jitter)
        except OutcomeUnknown:
            is_certain, expires_at = False, next_cut(look.now)
        else:
            expires_at = reply.expires_at
            elsewhere = phone_approval.goes_elsewhere(reply, look.settings.notifier_secret)
        return ApprovalAsked(
            look.now, stage, opens, expires_at, look.login_url, is_certain, elsewhere
        )

    def _tell_person(self) -> None:
        """Note the stage as told, then tell: a crash in between costs a notice, never a flood.

        What cannot be noted is told all the same, once by this process: a full disk must not be
        met by silence.
        """
        try:
            with self._store.writing() as writer:
                look = self._look(writer)
                due = look.untold_stage
                if due is not None:
                    writer.save_state(replace(look.state, told=due.due_at))
        except TokenError:
            look = self.look()
            due = look.untold_stage
            if due is not None and due.due_at != self._told_unnoted:
                self._told_unnoted = due.due_at
                self._tell_stage(look, due)
            raise
        if due is not None:
            self._tell_stage(look, due)

    def _tell_stage(self, look: Look, due: DayStage) -> None:
        asked, failure = look.state.approval, look.state.last_failure
        self._tell(
            PersonNeeded(
                look.now,
                due.stage,
                due.due_at,
                due.session.opens,
                look.login_url,
                asked.asked_at if asked and phone_approval.is_outstanding(look) else None,
            )
        )
        if look.is_app_refused and failure is not None and failure.at < look.now - _JUST_NOW:
            self._tell(AppRefused(look.now, failure.what))

    def _tell_failure(self, failure: TokenError) -> None:
        look = self.look()
        if isinstance(failure, ConfigurationError):
            self._tell(AppRefused(look.now, str(failure), look.needs_person))
            return
        if isinstance(failure, StoreError):
            if str(failure) == self._trouble:
                return  # a full disk is met at every tick
            self._trouble = str(failure)
        retry_at = None
        if isinstance(failure, TemporaryFailure):
            state = look.state
            retries = (state.retry_at, state.approval.retry_at if state.approval else None)
            later = (at for at in retries if at is not None and at >= look.now)
            retry_at = min(later, default=None)
        self._tell(RenewalFailed(look.now, str(failure), retry_at))
