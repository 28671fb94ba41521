"""What the commands share: flags made of the settings, and one action on an opened installation."""

import asyncio
import dataclasses
import functools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from repoint.config import SettingError, Settings, read_file
from repoint.db import DatabaseUnavailableError
from repoint.logs import set_up_logs
from repoint.main import CannotOpenError, Installation
from repoint.resources.call import Server

Function = TypeVar("Function", bound=Callable[..., Any])
ALL = tuple(entry.name for entry in dataclasses.fields(Settings))
INSTALLATION = ("data_dir", "database_url", "secret_key", "account_id", "log_level", "log_format")


def settings_options(names: Iterable[str]) -> Callable[[Function], Function]:
    """Flags for these settings, each also read from REPOINT_* and from the TOML file of --config.

    What keeps the installation from being opened is told in one sentence.
    """
    wanted = set(names)

    def decorate(command: Function) -> Function:
        @functools.wraps(command)
        def function(*arguments: Any, **given: Any) -> Any:
            try:
                return command(*arguments, **given)
            except (CannotOpenError, DatabaseUnavailableError) as error:
                raise click.ClickException(str(error)) from None
            except SettingError as error:
                raise click.UsageError(str(error)) from None

        for entry in reversed(dataclasses.fields(Settings)):
            if entry.name in wanted:
                _option(entry)(function)
        click.option(
            "--config",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            envvar="REPOINT_CONFIG",
            is_eager=True,
            expose_value=False,
            callback=_read_config,
            help="A TOML file of settings.  [env: REPOINT_CONFIG]",
        )(function)
        return cast("Function", function)

    return decorate


def _option(entry: "dataclasses.Field[Any]") -> Callable[[Function], Function]:
    flag = f"--{entry.name.replace('_', '-')}"
    default: Any = entry.default
    kind: Any = type(default)
    is_list = isinstance(default, tuple)
    bounds = entry.metadata["at_least"], entry.metadata["at_most"]
    if entry.metadata["choices"]:
        kind = click.Choice(entry.metadata["choices"])
    elif kind in (int, float):
        kind = click.IntRange(*bounds) if kind is int else click.FloatRange(*bounds)
    elif isinstance(default, Path):
        kind = click.Path(path_type=Path)
    elif is_list:
        kind = str
    return click.option(
        f"{flag}/--no-{flag[2:]}" if isinstance(default, bool) else flag,
        entry.name,
        default=default,
        type=None if isinstance(default, bool) else kind,
        multiple=is_list,
        envvar=[name for name in (f"REPOINT_{entry.name.upper()}", entry.metadata["also"]) if name],
        show_default=not is_list and default != "",
        help=f"{entry.metadata['help']}  [env: REPOINT_{entry.name.upper()}]",
    )


def _read_config(context: click.Context, _: click.Parameter, path: Path | None) -> None:
    if path is None:
        return
    try:
        values = read_file(path)
    except SettingError as error:
        raise click.UsageError(str(error)) from None
    context.default_map = {**(context.default_map or {}), **values}


def settings_of(given: dict[str, Any]) -> Settings:
    """The settings these flags give; logs are set up on the way."""
    settings = Settings(**given)
    if not (settings.account_id.isdigit() and len(settings.account_id) == 12):  # noqa: PLR2004 - AWS's own length
        raise SettingError("account-id: must be twelve digits")
    set_up_logs(settings.log_level, settings.log_format)
    return settings


def ask(given: dict[str, Any], action: Callable[[Server], Any]) -> Any:
    """The same as `run`, for commands that look at what is there: where nothing is, nothing is made."""
    return _act(settings_of_existing(given), action)


def settings_of_existing(given: dict[str, Any]) -> Settings:
    """The same as `settings_of`, where there is an installation."""
    settings = settings_of(given)
    if not Installation.exists(settings):
        where = f"there is no installation in {settings.data_dir.resolve()}"
        raise click.ClickException(f"{where}: name its folder by --data-dir, or in REPOINT_DATA_DIR")
    return settings


def run(given: dict[str, Any], action: Callable[[Server], Any]) -> Any:
    """Open the installation for one action; where there is none, it is made."""
    return _act(settings_of(given), action)


def _act(settings: Settings, action: Callable[[Server], Any]) -> Any:
    installation = Installation.open(settings)

    async def act() -> Any:
        async with installation.server() as server:
            return await action(server)

    try:
        return asyncio.run(act())
    finally:
        installation.close()
