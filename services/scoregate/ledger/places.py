"""Which ledgers there are: a file per service in the state folder, or one store that several share."""

from __future__ import annotations

from contextlib import closing

from scoregate.errors import ArtefactError
from scoregate.ledger.archive import open_archive
from scoregate.settings import Settings


def ledgers(settings: Settings, service: str | None = None) -> list[tuple[str, str]]:
    """Return service and URL of every ledger, or of one service's.

    Raises:
        ArtefactError: there is none.
        LedgerUnavailable: the store that they share cannot be read.
    """
    if settings.ledger_url is None:
        folder = settings.home / "ledger"
        services = [path.stem for path in sorted(folder.glob("*.db"))]
        where = str(folder)
    else:
        with closing(open_archive(settings.ledger_url)) as archive:
            services = archive.services()
        where = "the store of SCOREGATE_LEDGER_URL"
    found = [(one, settings.ledger(one)) for one in services if service in {None, one}]
    if not found:
        raise ArtefactError(f"there is no ledger{f' of {service}' if service else ''} in {where}")
    return found


def url_of(settings: Settings, service: str) -> str:
    """Return the URL of one service's ledger.

    Raises:
        ArtefactError: there is none.
        LedgerUnavailable: the store cannot be read.
    """
    return ledgers(settings, service)[0][1]
