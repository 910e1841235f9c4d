"""The features of an application, from tiles and from itself."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import pytest

from kyc import features
from kyc.contract import EXAMPLE, Request
from scoregate.features import FeatureRow, Status, ViewRow
from scoregate.features.windows import STRIDE

AT_S = dt.datetime(2025, 3, 3, 12, 30, tzinfo=dt.UTC).timestamp()
HOUR, DAY = int(AT_S // 3_600), int(AT_S // 86_400)
VIEWS = (features.DEVICES, features.DOCUMENTS, features.PHONES, features.EMAILS, features.ADDRESSES)
SELF, ANN, BEN, COY = 1, 2, 3, 4


def hashed(kind: str, value: str) -> str:
    return f"{kind}/{value}"


def tiles(*seen: tuple[int, int], status: Status = Status.FRESH) -> ViewRow:
    """The row of a view that has seen applicants, each so many hours ago."""
    past = sorted((hours_ago, who) for who, hours_ago in seen)[::-1]
    days = [[(HOUR - ago) // 24, 1, *[0] * (STRIDE - 2)] for ago, _ in past]
    values: dict[str, Any] = {
        "days": [n for tile in days for n in tile],
        "hour_parties": [n for ago, who in past if ago <= 24 for n in (HOUR - ago, who)],
        "day_parties": [n for ago, who in past for n in ((HOUR - ago) // 24, who)],
    }
    return ViewRow(values, status, 1.0)


def vector(request: dict[str, Any] | None = None, **views: ViewRow) -> dict[str, float]:
    """The features by name; views that are not given are whole and empty."""
    empty = {name: ViewRow({}, Status.FRESH, 1.0, known=False) for name in VIEWS}
    values = features.vector(Request(**{**EXAMPLE, **(request or {})}), FeatureRow(empty | views), AT_S)
    return dict(zip(features.FEATURES, values, strict=True))


def test_an_ordinary_applicant_has_nothing_against_them() -> None:
    """The documented example has no link, no contradiction, and no unknown."""
    found = vector()

    ordinary = {
        "age_years": pytest.approx(35.86, abs=0.01),
        "email_name_overlap": 1.0,
        "name_scripts": 1.0,
        "hour_utc": 12.5,
    }
    assert dict.fromkeys(features.FEATURES, 0.0) | ordinary == found


def test_entities_are_the_hashed_normal_forms() -> None:
    """Spelling does not change a key, and every key has its own kind of hash."""
    request = Request(**{**EXAMPLE, "email": "Ana.Example+x@Example.COM", "address": "LINDENWEG 12 10115 BERLIN"})

    assert features.entities(Request(**EXAMPLE), hashed) == features.entities(request, hashed)
    assert {
        "device_key": "device/dev-5f2b9c0a71d4",
        "document_key": "document/DE:L898902C36",
        "phone_key": "phone/4915112345678",
        "email_key": "email/ana.example@example.com",
        "address_key": "address/10115 12 berl lind",
    } == features.entities(request, hashed)


def test_a_party_is_a_person_however_the_name_is_written() -> None:
    """Name and birth date make the person, whatever order and accents the name is written in."""
    one, same = (Request(**{**EXAMPLE, "name": name}) for name in ("Renée Example", "EXAMPLE Renee"))
    older = Request(**{**EXAMPLE, "name": "Renée Example", "birth_date": "1959-04-23"})

    assert features.party(one, hashed) == features.party(same, hashed)
    assert features.party(one, hashed) != features.party(older, hashed)


def test_a_second_try_is_not_another_person() -> None:
    """Who showed the same document before is the same applicant on every other thing."""
    again = tiles((SELF, 2))
    found = vector(**dict.fromkeys(VIEWS, again))

    assert 1.0 == found["document_count_30d"]
    assert [0.0] * 10 == [found[name] for name in features.LINKS if name != "document_count_30d"]


def test_a_ring_on_one_device_is_counted_and_bursts() -> None:
    """Others on the device within a day show as others, strangers and a burst."""
    found = vector(applicant_device_tiles=tiles((ANN, 1), (BEN, 2), (COY, 3)))

    assert 3.0 == found["device_others_1d"] == found["device_others_30d"] == found["device_strangers_30d"]
    assert 3.0 == found["device_burst"]


def test_a_steady_device_does_not_burst() -> None:
    """A shop's device with applicants on many days has a low burst."""
    found = vector(applicant_device_tiles=tiles(*((who, 24 * who) for who in range(1, 20))))

    assert 19.0 == found["device_others_30d"]
    assert found["device_burst"] < 0.1


def test_a_family_is_others_but_not_strangers() -> None:
    """Who gave the same address is no stranger on the telephone or the device."""
    found = vector(phone_tiles=tiles((ANN, 30), (BEN, 60)), address_tiles=tiles((ANN, 30)))

    assert 2.0 == found["phone_others_30d"]
    assert 1.0 == found["phone_strangers_30d"]
    assert 1.0 == found["address_others_30d"]


def test_two_names_on_one_document_are_another() -> None:
    """A document that two people showed has one more than it should."""
    assert 1.0 == vector(document_tiles=tiles((ANN, 30), (BEN, 40)))["document_others_30d"]


@pytest.mark.parametrize(
    ("hours_ago", "in_1d", "in_30d"), [(24, 1.0, 1.0), (25, 0.0, 1.0), (24 * 30, 0.0, 1.0), (24 * 31, 0.0, 0.0)]
)
def test_links_end_where_windows_do(hours_ago: int, in_1d: float, in_30d: float) -> None:
    """A day goes by hours and thirty days by days, as everywhere."""
    found = vector(address_tiles=tiles((ANN, hours_ago)))

    assert (in_1d, in_30d) == (found["address_others_1d"], found["address_others_30d"])


def test_counts_stop_where_tiles_stop_being_exact() -> None:
    """Above the cap a count says the cap."""
    assert 32.0 == vector(phone_tiles=tiles(*((who, who) for who in range(1, 41))))["phone_others_30d"]


@pytest.mark.parametrize(
    ("view", "unknown"),
    [
        (features.DEVICES, {"device_others_1d", "device_others_30d", "device_burst", "device_strangers_30d"}),
        (features.DOCUMENTS, {"document_count_30d", "document_others_30d"}),
        (features.PHONES, {"phone_others_30d", "phone_strangers_30d"}),
        (features.EMAILS, {"email_strangers_30d"}),
        (features.ADDRESSES, {"address_others_1d", "address_others_30d"}),
    ],
)
def test_a_missing_view_is_nan_and_never_nothing(view: str, unknown: set[str]) -> None:
    """Only the features of the missing view are unknown, and they are not zero."""
    found = vector(**{view: tiles((SELF, 2), status=Status.MISSING)})

    assert unknown == {name for name, value in found.items() if math.isnan(value)}


def test_without_documents_nobody_is_excused() -> None:
    """A missing view must not read as a good one: the others stay others."""
    found = vector(document_tiles=tiles(status=Status.MISSING), phone_tiles=tiles((SELF, 2)))

    assert 1.0 == found["phone_others_30d"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"document_number": "L898902C35"}, {"document_digit_wrong": 1.0}),
        ({"document_country": "SE", "document_number": "8904230008"}, {"document_birth_differs": 0.0}),
        ({"document_country": "SE", "document_number": "7904230008"}, {"document_birth_differs": 1.0}),
        ({"phone": "+33612345678"}, {"phone_document_differ": 1.0, "ip_phone_differ": 1.0, "country_differences": 2.0}),
        ({"ip_country": "FR"}, {"ip_document_differ": 1.0, "ip_phone_differ": 1.0, "country_differences": 2.0}),
        ({"email": "ana.example42@YOPMAIL.com"}, {"email_disposable": 1.0, "email_digits": 2.0}),
        ({"email": "qzxkpd@example.com"}, {"email_name_overlap": 0.0}),
        ({"name": "An\u0430 Example"}, {"name_scripts": 2.0}),
        ({"birth_date": "2025-03-03"}, {"age_years": 0.0}),
    ],
)
def test_contradictions_inside_an_application_show(change: dict[str, str], expected: dict[str, float]) -> None:
    """Each contradiction moves its own feature."""
    found = vector(change)

    assert expected == {name: found[name] for name in expected}


def test_a_country_without_a_calling_code_is_unknown() -> None:
    """A telephone cannot contradict a country that has no code of its own."""
    found = vector({"document_country": "AQ"})

    assert math.isnan(found["phone_document_differ"])
    assert 1.0 == found["country_differences"]
