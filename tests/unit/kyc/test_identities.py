"""Check digits, calling codes and spellings."""

from __future__ import annotations

import pytest

from kyc import identities


@pytest.mark.parametrize(
    ("text", "digit"),
    [("L898902C3", 6), ("740812", 2), ("120415", 9), ("ZE184226B<<<<<", 1), ("D23145890", 7)],
)
def test_check_digit_agrees_with_the_published_specimens(text: str, digit: int) -> None:
    """The specimen travel documents of ICAO Doc 9303 come out as printed."""
    assert digit == identities.check_digit(text)


@pytest.mark.parametrize(
    ("number", "holds"), [("L898902C36", True), ("L898902C35", False), ("L898902C3A", False), ("6", False)]
)
def test_document_holds_when_its_last_digit_follows(number: str, holds: bool) -> None:
    """A number holds only with a last digit that follows from the rest."""
    assert holds is identities.document_holds(number)


@pytest.mark.parametrize(
    ("number", "country", "held"),
    [
        ("8904231234", "SE", "890423"),
        ("38904231234", "EE", "890423"),
        ("L898902C36", "DE", None),
        ("8904", "SE", None),
        ("AB04231234", "SE", None),
    ],
)
def test_birth_in_document_is_read_where_the_country_writes_it(number: str, country: str, held: str | None) -> None:
    """Only some countries' numbers hold the birth date, and a number that is too short or has letters holds none."""
    assert held == identities.birth_in_document(number, country)


@pytest.mark.parametrize(
    ("phone", "country", "belongs"),
    [
        ("+4915112345678", "DE", True),
        ("+4915112345678", "FR", False),
        ("+16175550100", "US", True),
        ("+16175550100", "CA", True),
        ("+35312345678", "IE", True),
        ("+35312345678", "AQ", None),
    ],
)
def test_a_phone_is_tested_against_a_country(phone: str, country: str, belongs: bool | None) -> None:
    """Countries may share a calling code, and for one without a code nothing is known."""
    assert belongs is identities.phone_in(phone, country)


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Łukasz ŻÓŁĆ", "lukasz zolc"),
        ("Jürgen Groß", "jurgen gross"),
        ("Nguyễn Đào", "nguyen dao"),
        ("İbrahim Işık", "ibrahim isik"),
        ("Олена Шевченко", "olena shevchenko"),
        ("Ελένη Βλάχος", "eleni vlachos"),
        ("O'Connor", "oconnor"),
        ("O’Connor", "oconnor"),
        ("王", "王"),
    ],
)
def test_fold_writes_plain_lower_case_latin(text: str, folded: str) -> None:
    """Accents and case go, Greek and Cyrillic become Latin, and what is unknown stays."""
    assert folded == identities.fold(text)


def test_a_name_is_the_same_in_any_order_case_and_accents() -> None:
    """One person who writes a name in two ways is one applicant."""
    assert identities.name_key("Renée de la Cruz") == identities.name_key("DE LA CRUZ, Renee")
    assert identities.name_key("Renée de la Cruz") != identities.name_key("René de la Cruz")


def test_an_email_is_the_same_with_tags_and_case() -> None:
    """Case and +tags never make a new mailbox; dots do not where the provider ignores them."""
    assert "ana.b@example.com" == identities.email_key("Ana.B+shop@Example.com")
    assert "anab@gmail.com" == identities.email_key("A.n.a.b+x@googlemail.com")
    assert identities.email_key("ana.b@example.com") != identities.email_key("anab@example.com")


@pytest.mark.parametrize("other", ["Berlin 10115, hauptstr. 12", "HAUPTSTRASSE 12, 10115 BERLIN"])
def test_an_address_is_the_same_in_other_spellings(other: str) -> None:
    """Abbreviations, order, case and accents do not make a new address."""
    assert identities.address_key("Hauptstraße 12, 10115 Berlin") == identities.address_key(other)


@pytest.mark.parametrize(
    "other", ["Hauptstraße 13, 10115 Berlin", "Hauptstraße 12, 10117 Berlin", "Gartenstraße 12, 10115 Berlin"]
)
def test_an_address_differs_by_number_postcode_and_street(other: str) -> None:
    """Neighbours are not linked."""
    assert identities.address_key("Hauptstraße 12, 10115 Berlin") != identities.address_key(other)


def test_a_document_belongs_to_its_country() -> None:
    """The same number of two countries is two documents."""
    assert identities.document_key("X1", "DE") != identities.document_key("X1", "FR")


def test_a_phone_key_is_its_digits() -> None:
    """Nothing but the digits tells two numbers apart."""
    assert "4915112345678" == identities.phone_key("+4915112345678")


def test_email_overlap_grows_with_what_name_and_mailbox_share() -> None:
    """A mailbox made from the name shares all, an initial less, random letters nothing."""
    whole = identities.email_overlap("Jürgen Weber", "juergen.weber@example.com")
    initial = identities.email_overlap("Jürgen Weber", "jweber77@example.com")
    foreign = identities.email_overlap("Jürgen Weber", "qzxkpd@example.com")

    assert foreign == 0.0
    assert foreign < initial < 1.0
    assert initial <= whole


@pytest.mark.parametrize("email", ["12345@example.com", "a@example.com"])
def test_email_overlap_without_letters_is_nothing(email: str) -> None:
    """Digits or a single letter share no pair of letters with any name."""
    assert 0.0 == identities.email_overlap("Ana Example", email)


@pytest.mark.parametrize(
    ("name", "scripts"), [("Ana Example", 1), ("Zoë Müller-Ðơn", 1), ("Олена Шевченко", 1), ("An\u0430 Example", 2)]
)
def test_scripts_are_counted(name: str, scripts: int) -> None:
    """Accents are no other script; one Cyrillic letter in a Latin name is."""
    assert scripts == identities.script_count(name)
