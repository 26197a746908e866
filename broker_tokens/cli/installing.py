"""What `upstox-token install` does: it shows, installs, takes away, or refuses."""

import argparse
import os

from broker_tokens.cli.output import answer, say
from broker_tokens.env_path import locate
from broker_tokens.errors import EXIT_OK, ConfigurationError, TokenError
from broker_tokens.install.job import Job, Kind, make_job
from broker_tokens.install.machine import Machine
from broker_tokens.install.same_env import is_same
from broker_tokens.install.schedulers import AS_ROOT, KINDS, refuse_second
from broker_tokens.install.steps import RemoveFile, RunCommand, carry_out
from broker_tokens.notices.channels import is_any_configured
from broker_tokens.settings import Settings, load_settings
from broker_tokens.store import TokenStore


def run(options: argparse.Namespace, machine: Machine) -> int:
    """Show what would be done, or do it; returns the exit code."""
    kind = KINDS[options.kind]
    env_path = _env_path(options, machine)
    job = make_job(
        env_path, machine, name=options.name, is_system=options.system, listen=options.listen or ""
    )
    if options.listen and not kind.keeps_running:
        raise ConfigurationError(
            f"--listen is for a service that keeps running, which {kind.name} is not.",
            "Leave it out, or install systemd.",
        )
    if options.uninstall:
        return _uninstall(kind, job, machine)
    return _install(kind, job, machine) if options.apply else _show(kind, job, machine)


def _env_path(options: argparse.Namespace, machine: Machine) -> str:
    """Return the `.env`, absolute; what is taken away may have outlived its `.env`."""
    try:
        return os.path.abspath(locate(options.env_file, machine.environ))
    except ConfigurationError:
        if options.uninstall and options.env_file:
            return os.path.abspath(os.path.expanduser(str(options.env_file)))
        raise


def _show(kind: Kind, job: Job, machine: Machine) -> int:
    steps = kind.install(job, machine)
    files = [step.shown() for step in steps if not isinstance(step, RunCommand | RemoveFile)]
    commands = [step.shown() for step in steps if isinstance(step, RunCommand | RemoveFile)]
    parts = [*files, "\n".join(["# Then:", *commands]) if commands else ""]
    answer("\n\n".join(part for part in parts if part))
    say("Nothing was changed: --apply installs it.")
    try:
        _check_new(kind, job, machine)
    except TokenError as error:
        say(f"It would be refused now. {error}")
    return EXIT_OK


def _install(kind: Kind, job: Job, machine: Machine) -> int:
    settings = _check_new(kind, job, machine)
    carry_out(kind.install(job, machine), machine, say)
    answer(f"Installed: {kind.name} ({job.name}) looks after {job.env_path}.")
    if not settings.has_credentials:
        say("Client ID/Secret not found in it: without them it can neither renew nor ask.")
    if not is_any_configured(settings):
        say("Nobody is told when a login is due: set UPSTOX_NOTIFY_URLS or UPSTOX_NOTIFY_COMMAND.")
    if job.is_system and job.user == "root":
        say("It runs as root, to whom the .env belongs; chown it to the strategies' account.")
    return EXIT_OK


def _uninstall(kind: Kind, job: Job, machine: Machine) -> int:
    _check(kind, job, machine)
    steps = kind.uninstall(job, machine)
    if not steps:
        answer(f"Nothing to take away: {kind.name} ({job.name}) is not installed.")
        return EXIT_OK
    carry_out(steps, machine, say)
    answer(f"Taken away: {kind.name} ({job.name}). {job.env_path} is as it was.")
    return EXIT_OK


def _check_new(kind: Kind, job: Job, machine: Machine) -> Settings:
    """Return the settings; raise TokenError if this must not be installed here, or not now."""
    _check(kind, job, machine)
    _check_booted(kind, machine)
    _check_folders(job, machine)
    settings = _check_settings(job)
    refuse_second(job, kind, machine)
    return settings


def _check_booted(kind: Kind, machine: Machine) -> None:
    """Raise ConfigurationError for systemd where it is not process 1 (sd_booted(3))."""
    is_systemd = kind.name.startswith("systemd")
    if is_systemd and not os.path.isdir(machine.place("/run/systemd/system")):
        raise ConfigurationError(
            "systemd does not run on this machine.",
            "Let cron do it: upstox-token install cron --apply",
        )


def _check_folders(job: Job, machine: Machine) -> None:
    """Raise ConfigurationError if others could put before root what root's job then runs."""
    if job.user != "root" or not job.is_system or machine.platform == "win32":
        return
    folder = machine.loose_folder(job.env_path)
    if folder is not None:
        raise ConfigurationError(
            f"{job.env_path} is root's, so it would run as root, but others can change {folder}.",
            "chown the .env to the strategies' account, or keep it where only root can write.",
        )


def _check_settings(job: Job) -> Settings:
    """Return the settings of the `.env`; raise TokenError if no service would start with them.

    A client ID and secret are not asked for: systemd's credentials may hold them.
    """
    return load_settings(TokenStore(job.env_path).load().values, {}, source=job.env_path)


def _check(kind: Kind, job: Job, machine: Machine) -> None:
    """Raise ConfigurationError if this machine, user or name is the wrong one."""
    _check_machine(kind, machine)
    _check_user(job, machine)
    _check_name(kind, job, machine)


def _check_machine(kind: Kind, machine: Machine) -> None:
    if not machine.platform.startswith(kind.platforms):
        raise ConfigurationError(
            f"{kind.name} is not of this machine ({machine.platform}).",
            "Run this command there, or choose another kind here.",
        )


def _check_user(job: Job, machine: Machine) -> None:
    if machine.platform == "win32":
        return
    if job.is_system and machine.uid != 0:
        raise ConfigurationError(
            "--system changes the whole machine.", f"It needs root: {AS_ROOT} install ..."
        )
    owner = machine.owner_of(job.env_path)
    if not job.is_system and machine.uid == 0 and owner not in ("", machine.user):
        raise ConfigurationError(
            f"{job.env_path} belongs to {owner}, and this would install it for {machine.user}.",
            "Leave `sudo` out, or add --system.",
        )


def _check_name(kind: Kind, job: Job, machine: Machine) -> None:
    owner = kind.owner(job, machine)
    if owner is not None and not is_same(owner, job.env_path):
        raise ConfigurationError(
            f"{job.name} looks after another .env already: {owner}.",
            "Give this one a name of its own with --name.",
        )
