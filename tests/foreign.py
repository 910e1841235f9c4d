"""Files as strangers would bring them, written without any code of ours: their columns, codes, gaps and time zones."""

from __future__ import annotations

import csv
import datetime as dt
import math
import random
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq

Row = dict[str, Any]

SAO_PAULO = ZoneInfo("America/Sao_Paulo")
KOLKATA = ZoneInfo("Asia/Kolkata")
PARIS = ZoneInfo("Europe/Paris")

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

LOAN_MAP = """
application_id = "dossier"
is_default = {column = "etat", bad = ["CTX", "impayé"]}
applied_at = {column = "depot", format = "%d/%m/%y %H:%M", zone = "Europe/Paris"}
protected = ["sexe"]
categorical = ["dept"]
ignore = ["note"]
[monotone]
revenu = -1
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


def twice(path: Path, source: Path, share: float = 0.05, seed: int = 5) -> set[tuple[str, str]]:
    """Copy a file of applications with people who apply again: a slip in the name, another address, telephone, handset.

    Return the pairs of numbers that are one person.
    """
    rng = random.Random(seed)
    with source.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    pairs = set()
    for row in rng.sample(rows, int(share * len(rows))):
        number, at = f"R-{len(pairs):05d}", rng.randrange(len(row["SOBRENOME"]) - 1)
        family = row["SOBRENOME"]
        slip = family[:at] + family[at + 1] + family[at] + family[at + 2 :]
        moved = {"RUA": f"Beco Novo, {rng.randrange(900)}", "CEL": f"+5521 9{rng.randrange(10**8):08d}", "APARELHO": ""}
        rows.append({**row, **moved, "NR_PEDIDO": number, "SOBRENOME": slip})
        pairs.add((row["NR_PEDIDO"], number))
    _write(path, rows, ";", "utf-8")
    return pairs


def loans(path: Path, rows: int = 1_500, seed: int = 6) -> Path:
    """Write loans of a lender in France: codes among numbers, words, departments, gaps, a sex that is not learned."""
    rng = random.Random(seed)
    begin = dt.datetime(2025, 1, 6, 9, tzinfo=PARIS)

    def loan(number: int) -> Row:
        income, debt = rng.lognormvariate(7.5, 0.5), rng.betavariate(2, 4)
        home = rng.choice(["propriétaire", "locataire", "locataire", "logé", "NA"])
        odds = 5 * debt - 0.0007 * income + (home == "locataire") - 1.9
        bad = rng.random() < 1 / (1 + math.exp(-odds))
        return {
            "dossier": f"{number:05d}",
            "depot": f"{begin + dt.timedelta(minutes=350 * number):%d/%m/%y %H:%M}",
            "revenu": "-1" if rng.random() < 0.05 else f"{income:.0f}",
            "taux": "inconnu" if rng.random() < 0.04 else f"{debt:.3f}",
            "logement": home,
            "dept": rng.choice(["01", "13", "75", "2A"]),
            "sexe": rng.choice(["F", "H", ""]),
            "note": f"vu le {number}",
            "etat": rng.choice(["CTX", "impayé"]) if bad else rng.choice(["soldé", "en cours"]),
        }

    return _write(path, [loan(number) for number in range(rows)], ",", "latin-1")


def as_parquet(source: Path, path: Path, *, without: tuple[str, ...] = ()) -> Path:
    """Write a file of text anew as Parquet, without some of its columns."""
    with source.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    names = [name for name in rows[0] if name not in without]
    pq.write_table(pa.table({name: [row[name] for row in rows] for name in names}), path)
    return path


def _write(path: Path, rows: list[Row], delimiter: str, encoding: str) -> Path:
    names = [name for name in rows[0] if name != "at"]
    with path.open("w", newline="", encoding=encoding) as file:
        writer = csv.DictWriter(file, names, delimiter=delimiter, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path
