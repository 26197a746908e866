"""Imports point strictly down: the floors of the house, lowest first."""

import ast
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# A module may import only what stands before it, on its own floor too.
FLOORS = {
    "0 nouns": [
        *("broker_tokens", "clock", "secrets", "errors", "model", "waker", "file_names"),
        *("programs", "supervisor"),
    ],
    "1 files, settings, plan, network": [
        *("expiry", "calendar", "credentials"),
        *("setting_values", "settings", "lenient_settings", "place"),
        *("stages", "backoff", "policy", "watch"),
        *("file_metadata", "patience", "file_trouble", "durable_file", "env_text"),
        *("file_lock", "state_file", "store", "attendance"),
        *(
            "env_path",
            "env_glance",
            "reader",
            "http_message",
            "http_trouble",
            "http_worker",
            "transport",
        ),
    ],
    "2 brokers": [
        *("brokers", "brokers.upstox_codes", "brokers.upstox_errors", "brokers.upstox_fields"),
        *("brokers.upstox_calendar", "brokers.upstox_calls", "brokers.upstox"),
    ],
    "3 ways of renewal, words, web, notices": [
        *("renewals", "renewals.login_link", "look", "announcer", "forecast", "event_log", "logs"),
        *("audit",),
        *("renewals.acceptance", "renewals.setbacks", "renewals.adoption"),
        *("renewals.code_exchange", "renewals.refresh_grant", "renewals.phone_approval"),
        *("notices", "notices.words", "notices.gate", "notices.commands", "notices.courier"),
        *("notices.apprise_child", "notices.channels", "notices.notifier", "notices.after_renewal"),
        *("outlook",),
        *("inbox", "web", "web.http_values", "web.http_request", "web.sockets", "web.http_server"),
        *("web.tally", "web.pages", "web.recent_look", "web.receiver", "web.redirects"),
        *("web.exposition", "web.health"),
        *("renewals.browser_login",),
    ],
    "4 service": ["intake", "lookout", "prompter", "service", "loop"],
    "5 wiring": ["aftermath", "app", "changes", "background", "listener", "upstox_token_manager"],
    "5 installing": [
        *("install", "install.machine", "install.steps", "install.job", "install.templates"),
        *("install.same_env", "install.unit_syntax", "install.units"),
        "install.unit_files",
        *(
            "install.systemd",
            "install.crontab",
            "install.cron",
            "install.windows",
            "install.launchd",
        ),
        "install.schedulers",
    ],
    "5 for strategies": ["bearer", "with_requests", "with_httpx", "with_upstox_client"],
    "5 doctor": [
        *("doctor", "doctor.finding", "doctor.machine", "doctor.surroundings"),
        *("doctor.case", "doctor.questions", "doctor.env_file", "doctor.git"),
        *("doctor.configuration", "doctor.addresses", "doctor.network", "doctor.stored_token"),
        *("doctor.upkeep", "doctor.outlook", "doctor.examination"),
    ],
    "6 doors": [
        *(
            "cli",
            "cli.output",
            "cli.arguments",
            "cli.child",
            "cli.run",
            "cli.status",
            "cli.check",
            "cli.notify",
            "cli.plugin",
            "cli.doctor",
            "cli.init",
            "cli.installing",
            "cli.install",
            "cli.demo_strategy",
            "cli.demo",
            "cli.main",
            "cli.service",
        ),
        *("init_tokens", "token_refresh_service", "broker_tokens.__main__"),
    ],
}

# Imports inside a function that point up, and why.
UPWARDS = {
    ("upstox_token_manager", "cli.main"): "the door's __main__ part, which is of the top floor",
}

# The practice broker stands beside the house: it may know the time, and nothing of the client.
SIMULATOR_MAY_IMPORT = {"broker_tokens", "clock"}
MAY_IMPORT_SIMULATOR = {"cli.main", "cli.demo", "cli.demo_strategy"}

PACKAGE = "broker_tokens"
DOORS = ["upstox_token_manager", "init_tokens", "token_refresh_service"]


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    full = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return full if full == f"{PACKAGE}.__main__" else short(full)


def short(name):
    return name.removeprefix(f"{PACKAGE}.")


def sources():
    paths = [*(ROOT / PACKAGE).rglob("*.py"), *(ROOT / f"{door}.py" for door in DOORS)]
    return {name_of(path): path.read_text(encoding="utf-8") for path in paths}


SOURCES = sources()
HOUSE = [name for name in SOURCES if not name.startswith("simulator")]
ORDER = {name: place for place, name in enumerate(chain(*FLOORS.values()))}


def is_type_checking(node):
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imported(source, *, at_import_time=False):
    """Return the modules of ours that a source imports, anywhere or while it is imported."""
    found, pending = set(), [ast.parse(source)]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if short(inner) in SOURCES else node.module)
        is_later = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if at_import_time and (is_later or is_type_checking(node) or is_main_part(node)):
            continue
        pending.extend(ast.iter_child_nodes(node))
    return {short(name) for name in found if name.split(".")[0] in (PACKAGE, *DOORS)}


def is_main_part(node):
    return isinstance(node, ast.If) and "__main__" in ast.unparse(node.test)


def test_every_module_has_its_place():
    """A new module is given a floor; a floor holds no module that is gone."""
    assert sorted(ORDER) == sorted(HOUSE)


@pytest.mark.parametrize("name", sorted(HOUSE))
def test_imports_point_down(name):
    """A module imports only what stands below it; what points up is listed with its reason."""
    up = {
        other
        for other in imported(SOURCES[name])
        if not other.startswith("simulator") and ORDER[other] >= ORDER[name]
    }

    assert up == {other for module, other in UPWARDS if module == name}


def test_upward_imports_happen_later():
    """The listed exceptions are imports inside functions: none happens while importing."""
    assert not [
        (name, other)
        for name, other in UPWARDS
        if other in imported(SOURCES[name], at_import_time=True)
    ]


@pytest.mark.parametrize("name", sorted(set(SOURCES) - set(HOUSE)))
def test_the_simulator_knows_nothing_of_the_client(name):
    """The practice broker is written from the documents, not from our client."""
    others = {o for o in imported(SOURCES[name]) if not o.startswith("simulator")}

    assert others <= SIMULATOR_MAY_IMPORT


def test_only_commands_know_the_simulator():
    """Nothing that a trader's token passes through imports the practice broker."""
    users = {
        name
        for name in HOUSE
        if any(other.startswith("simulator") for other in imported(SOURCES[name]))
    }

    assert users == MAY_IMPORT_SIMULATOR


def test_what_strategies_import_stays_on_the_lowest_floors():
    """`import upstox_token_manager` loads floors 0 and 1 alone."""
    low = {*FLOORS["0 nouns"], *FLOORS["1 files, settings, plan, network"]}
    loaded, pending = set(), ["upstox_token_manager"]
    while pending:
        for other in imported(SOURCES[pending.pop()], at_import_time=True) - loaded:
            loaded.add(other)
            pending.append(other)

    assert loaded <= low
    assert "http_worker" not in loaded


def test_no_module_shadows_a_users_own():
    """At the top level stand the doors alone: `config`, `token` or `schedule` would collide."""
    allowed = {*DOORS, "get_kite_token"}

    assert {path.stem for path in ROOT.glob("*.py")} <= allowed
    assert not (ROOT / "upstox_token_manager").exists()
