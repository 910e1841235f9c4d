"""Strings from ids."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kyc import people
from kyc.identities import birth_in_document, document_holds, phone_in, script_count
from kyc.vocabulary import CODES, COUNTRIES

BORN = dt.date(1989, 4, 23).toordinal()
SOURCES = st.integers(0, 2**64 - 1)


def test_mixing_never_joins_two_ids() -> None:
    """Numbered rows get ids of which no two are the same."""
    assert 10_000 == len(set(people.bits(np.arange(10_000, dtype="u8"), 3)))


@pytest.mark.parametrize("code", CODES)
def test_documents_hold_unless_they_shall_not(code: str) -> None:
    """Every country's numbers end in a check digit that follows, or in a wrong one when asked for."""
    origin = CODES.index(code)
    for source in people.bits(np.arange(20, dtype="u8"), 1):
        assert document_holds(people.document(source, source, origin, BORN, False))
        assert not document_holds(people.document(source, source, origin, BORN, True))


@pytest.mark.parametrize("code", ["EE", "SE", "RO", "BG", "LT"])
def test_documents_hold_the_birth_date_where_the_country_writes_it(code: str) -> None:
    """Reader and writer of numbers agree on where the birth date is."""
    assert "890423" == birth_in_document(people.document(5, 6, CODES.index(code), BORN, False), code)


def test_a_series_shares_the_first_characters() -> None:
    """Documents of one series begin alike and are still different documents."""
    origin = CODES.index("DE")
    one, other = (people.document(77, source, origin, BORN, False) for source in (1_000_003, 9_999_991))

    assert one[:4] == other[:4]
    assert one != other


@pytest.mark.parametrize("code", CODES)
def test_phones_belong_to_their_country(code: str) -> None:
    """A generated number begins with its country's calling code."""
    assert phone_in(people.phone(123_456_789_012, code), code)


@example(source=0, slip=89_593_704_989_327_360, variant=5, origin=CODES.index("UA"))
@given(source=SOURCES, slip=SOURCES, variant=st.integers(1, 5), origin=st.integers(0, len(CODES) - 1))
def test_names_can_be_written_in_every_way(source: int, slip: int, variant: int, origin: int) -> None:
    """No variant loses the name or adds a second script."""
    name = people.name(source, origin, variant, slip)

    assert name.strip() == name != ""
    assert 1 == script_count(name)


def test_a_look_alike_name_mixes_scripts() -> None:
    """The variant that shall look right and compare wrong does."""
    assert 2 == script_count(people.name(0, CODES.index("DE"), people.LOOK_ALIKE, 0))


@given(text=st.text("abcdefgh ", min_size=4, max_size=30), source=SOURCES)
def test_a_slip_changes_one_place_and_never_the_beginning(text: str, source: int) -> None:
    """A misspelling keeps the first letter and is at most one letter longer or shorter."""
    slipped = people.misspell(text, source)

    assert text[0] == slipped[0]
    assert abs(len(slipped) - len(text)) <= 1


@given(
    source=SOURCES,
    slip=SOURCES,
    variant=st.integers(0, 5),
    country=st.sampled_from([c for c in CODES if COUNTRIES[c].lives]),
)
def test_addresses_fit_where_people_live(source: int, slip: int, variant: int, country: str) -> None:
    """Every country that people live in has streets, postcodes and cities, without a placeholder left over."""
    address = people.address(source, CODES.index(country), variant, slip)

    assert not set("{}#@|") & set(address)
    assert any(c.isdigit() for c in address)
