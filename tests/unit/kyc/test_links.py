"""Which applications are one alert, and which names are one name."""

from __future__ import annotations

import datetime as dt
import random
from typing import Any

import pytest

from kyc import features, links, people
from kyc.contract import EXAMPLE, Request
from kyc.vocabulary import CODES, COUNTRIES, CULTURES
from scoregate.features import FeatureRow, Status, ViewRow
from scoregate.features.links import Alert
from scoregate.hashing import KeyedHash

HASHED = KeyedHash(b"k" * 32)
AT_S = dt.datetime(2025, 3, 3, 12, 30, tzinfo=dt.UTC).timestamp()
TODAY = int(AT_S // 86_400)
OLDER, OLD = "grp_0192000000000000000000a1", "grp_0193000000000000000000b2"
NAMES = 1_000


def sketch(name: str) -> str:
    return links.sketch(name, HASHED)


def seen(*entries: tuple[str, str, int], status: Status = Status.FRESH) -> ViewRow:
    """The row of a view that holds (group, name, days ago)."""
    values: dict[str, Any] = {
        "groups": [group for group, _, _ in entries],
        "names": [sketch(name) for _, name, _ in entries],
        "days": [TODAY - ago for _, _, ago in entries],
    }
    return ViewRow(values, status, 1.0)


def alert(**views: ViewRow) -> Alert:
    """What the example is linked to; views that are not given are whole and empty."""
    empty = {view: ViewRow({}, Status.FRESH, 1.0, known=False) for view in links.VIEWS.values()}
    return features.alert(Request(**EXAMPLE), FeatureRow(empty | views), HASHED, AT_S)


def test_an_application_without_links_has_a_group_of_its_own() -> None:
    """Named by its time and a keyed hash: the same each time, and nothing of the caller's id shows."""
    found = alert()

    assert Alert(found.group) == found == alert()
    assert found.group is not None and found.group.startswith(f"grp_{round(AT_S * 1_000):012x}")
    assert EXAMPLE["application_id"] not in found.group


@pytest.mark.parametrize("by", ["device", "document", "phone", "email"])
def test_what_two_applications_share_makes_them_one_alert(by: str) -> None:
    """Whatever the other's name is."""
    found = alert(**{links.VIEWS[by]: seen((OLD, "Somebody Else", 3))})

    assert Alert(OLD, (), (by,)) == found


def test_a_misspelt_name_at_one_address_is_one_alert() -> None:
    """Letters swapped, dropped or doubled, parts in another order."""
    found = [alert(address_links=seen((OLD, name, 3))) for name in ("Ana Exmaple", "Exampl, Ana", "Anna Example")]

    assert [Alert(OLD, (), ("address+name",))] * 3 == found


def test_a_family_at_one_address_is_not_one_alert() -> None:
    """A shared family name is no link."""
    assert () == alert(address_links=seen((OLD, "Lukas Example", 3), (OLD, "Mia Example", 2))).linked_by


def test_groups_that_meet_are_merged_into_the_oldest() -> None:
    """The others are named, so that a queue of alerts can do the same."""
    found = alert(
        device_links=seen((OLD, "A B", 9)), phone_links=seen((OLDER, "C D", 2)), email_links=seen((OLD, "E F", 1))
    )

    assert Alert(OLDER, (OLD,), ("device", "phone", "email")) == found


def test_links_end_after_38_days() -> None:
    """The row may hold older ones: it is pruned when something is added."""
    assert (1, 0) == tuple(len(alert(device_links=seen((OLD, "A B", ago))).linked_by) for ago in (37, 38))


def test_unknown_is_not_alone() -> None:
    """With a view missing and no link in the others no group is claimed; a link in the others is still one."""
    missing = ViewRow({}, Status.MISSING, None)

    assert Alert(None) == alert(phone_links=missing)
    assert {} == alert(phone_links=missing).columns()
    assert Alert(OLD, (), ("device",)) == alert(phone_links=missing, device_links=seen((OLD, "A B", 3)))


def test_an_application_is_not_linked_to_itself() -> None:
    """One that was posted before it is scored finds its own entry."""
    own = alert().group or ""

    assert Alert(own) == alert(device_links=seen((own, EXAMPLE["name"], 0)))
    assert ("device",) == alert(device_links=seen((own, "Somebody Else", 0))).linked_by


def test_a_sketch_needs_the_key() -> None:
    """Another secret gives another sketch, and no part of the name is in it."""
    assert sketch("Ana Example") != links.sketch("Ana Example", KeyedHash(b"x" * 32))
    assert 2 * 16 == len(sketch("Ana Example"))


def test_spelling_without_meaning_leaves_a_sketch_as_it_is() -> None:
    """Case, accents, order, and letters of another script that look alike."""
    spelt = ("André Müller", "MULLER ANDRE", "müller, andré", "\u0410ndré Müller")

    assert {sketch("andre muller")} == {sketch(name) for name in spelt}


def test_a_name_without_letters_is_like_no_other() -> None:
    """An empty sketch says nothing."""
    assert "" == sketch("???")
    assert not links.alike("", "") and not links.alike("", sketch("Ana Example"))


def _alike(pairs: list[tuple[str, str]]) -> float:
    return sum(links.alike(sketch(one), sketch(other)) for one, other in pairs) / len(pairs)


def test_misspelt_names_are_found_and_families_kept_apart() -> None:
    """The figures of the README: over names of every culture, slips are found and relatives are not joined."""
    rng = random.Random(5)
    once, twice, family = [], [], []
    for _ in range(NAMES):
        source, origin = rng.getrandbits(64), rng.randrange(len(CODES))
        name = people.name(source, origin, people.AS_IS, 0)
        slip = people.misspell(name, rng.getrandbits(32))
        once.append((name, slip))
        twice.append((name, people.misspell(people.name(source, origin, people.REORDERED, 0), rng.getrandbits(32))))
        culture = CULTURES[COUNTRIES[CODES[origin]].culture]
        one, other = rng.sample(culture.given, 2)
        shared = rng.choice(culture.family)
        family.append((f"{one} {shared}", f"{other} {shared}"))

    assert 0.98 < min(_alike(once), _alike(twice))
    assert 0.04 > _alike(family)
