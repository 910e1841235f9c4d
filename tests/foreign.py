"""Files as strangers would bring them, written without any code of ours: their columns, codes, gaps and time zones."""

from __future__ import annotations

import csv
import datetime as dt
import random
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

Row = dict[str, Any]

SAO_PAULO = ZoneInfo("America/Sao_Paulo")
KOLKATA = ZoneInfo("Asia/Kolkata")

APPLICATION_MAP = """
application_id = "NR_PEDIDO"
name = {given = "NOME", family = "SOBRENOME"}
birth_date = {column = "NASC", format = "%d/%m/%Y"}
event_at = {column = "CRIADO", format = "%d/%m/%Y %H:%M:%S", zone = "America/Sao_Paulo"}
document = "CPF"
address = ["RUA", "CIDADE"]
phone = "CEL"
email = "EMAIL"
device = "APARELHO"
ip_country = "IP"
is_fraud = {column = "SIT", bad = ["FR", "SUSP"]}
ignore = ["OBS"]
"""
PAYMENT_MAP = """
transaction_id = "Beleg"
event_at = {column = "Buchung", format = "%d.%m.%Y %H:%M:%S", zone = "Asia/Kolkata"}
account_id = "Konto"
counterparty_id = "Haendler"
amount = "Betrag"
is_fraud = {column = "Status", bad = "9"}
channel = "Weg"
country = "Land"
"""

GIVEN = ("Maria", "José", "Ana", "João", "Antônio", "Francisca", "Carlos", "Paulo", "Pedro", "Lucas", "Luiz", "Marcos")
FAMILY = ("Silva", "Santos", "Oliveira", "Souza", "Rodrigues", "Ferreira", "Alves", "Pereira", "Lima", "Gomes", "Costa")
STREETS = ("Rua das Flores", "Av. Paulista", "Rua XV de Novembro", "Travessa do Sol", "Alameda Santos", "Rua da Praia")
CITIES = ("São Paulo", "Recife", "Curitiba", "Salvador", "Manaus", "Fortaleza")


def applications(path: Path, days: int = 75, a_day: int = 60, seed: int = 3) -> Path:
    """Write applications of an onboarding desk in Brazil: shared tablets of honest shops, rings, and lone impostors."""
    rng = random.Random(seed)
    begin = dt.datetime(2026, 1, 5, tzinfo=SAO_PAULO)
    rows = [
        _applicant(rng, _moment(rng, begin, day), "OK") | ({"APARELHO": "tablet 7"} if rng.random() < 0.08 else {})
        for day in range(days)
        for _ in range(a_day)
    ]
    for day in range(days):
        at, handset = _moment(rng, begin, day), f"h{rng.randrange(10**9)}"
        if day % 4 == 0:
            ring = [at + dt.timedelta(minutes=11 * k) for k in range(rng.randrange(3, 7))]
            rows += [_applicant(rng, when, rng.choice(["FR", "SUSP"])) | {"APARELHO": handset} for when in ring]
        abroad = {"CEL": f"+7{rng.randrange(10**10):010d}", "IP": rng.choice(["br", "ru"])}
        rows.append(_applicant(rng, at, "FR") | abroad)
    rows.sort(key=lambda row: row["at"])
    return _write(path, [{"NR_PEDIDO": f"P-{i:06d}", **row} for i, row in enumerate(rows)], ";", "utf-8")


def _moment(rng: random.Random, begin: dt.datetime, day: int) -> dt.datetime:
    return begin + dt.timedelta(days=day, minutes=rng.randrange(480, 1_320))


def _applicant(rng: random.Random, at: dt.datetime, state: str) -> Row:
    given, family = rng.choice(GIVEN), f"{rng.choice(FAMILY)} {rng.choice(FAMILY)}"
    born = dt.date(1950, 1, 1) + dt.timedelta(days=rng.randrange(365 * 55))
    mail = f"{given}.{family[:5]}{rng.randrange(9_999)}@{rng.choice(['uol.com.br', 'bol.com.br'])}".lower()
    return {
        "NOME": given,
        "SOBRENOME": family,
        "NASC": f"{born:%d/%m/%Y}",
        "CRIADO": f"{at:%d/%m/%Y %H:%M:%S}",
        "CPF": f"{rng.randrange(10**3):03d}.{rng.randrange(10**6):06d}-{rng.randrange(100):02d}",
        "RUA": f"{rng.choice(STREETS)}, {rng.randrange(1, 900)}",
        "CIDADE": rng.choice(CITIES),
        "CEL": "" if rng.random() < 0.07 else f"+5511 9{rng.randrange(10**4):04d}-{rng.randrange(10**4):04d}",
        "EMAIL": "NULL" if rng.random() < 0.05 else mail,
        "APARELHO": "" if rng.random() < 0.1 else f"h{rng.randrange(10**9)}",
        "IP": rng.choice(["br", "br", "br", "pt", ""]),
        "SIT": state,
        "OBS": "nada",
        "at": at,
    }


def payments(path: Path, days: int = 90, a_day: int = 150, seed: int = 4) -> Path:
    """Write payments of a processor in India with German headings; frauds are several large sums at few shops."""
    rng = random.Random(seed)
    begin = dt.datetime(2026, 2, 1, tzinfo=KOLKATA)
    habit = [rng.lognormvariate(6, 0.6) for _ in range(300)]

    def payment(at: dt.datetime, who: int, shops: int, times: float, state: str) -> Row:
        return {
            "Buchung": f"{at:%d.%m.%Y %H:%M:%S}",
            "Konto": f"K{who}",
            "Haendler": f"H {rng.randrange(shops)}",
            "Betrag": f"{habit[who] * times:.2f}",
            "Status": state,
            "Weg": rng.choice(["Chip", "Online", "Überweisung", ""]),
            "Land": rng.choice(["IN", "in", "AE", "n/a"]),
            "at": at,
        }

    def second(day: int) -> dt.datetime:
        return begin + dt.timedelta(days=day, seconds=rng.randrange(86_400))

    rows = [
        payment(second(day), rng.randrange(300), 60, rng.lognormvariate(0, 0.6), "0")
        for day in range(days)
        for _ in range(a_day)
    ]
    for day in range(days):
        at, who = second(day), rng.randrange(300)
        burst = [at + dt.timedelta(seconds=90 * k) for k in range(rng.randrange(2, 6))]
        rows += [payment(when, who, 12, rng.lognormvariate(0.8, 0.6), "9") for when in burst]
    rows.sort(key=lambda row: row["at"])
    return _write(path, [{"Beleg": f"B/{i}", **row} for i, row in enumerate(rows)], "\t", "latin-1")


def _write(path: Path, rows: list[Row], delimiter: str, encoding: str) -> Path:
    names = [name for name in rows[0] if name != "at"]
    with path.open("w", newline="", encoding=encoding) as file:
        writer = csv.DictWriter(file, names, delimiter=delimiter, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path
