"""From numbers to applicants: every name, number and address is a pure function of an id, so nobody is stored.

An id is a 64-bit number. The same id gives the same string on any day, which is how a household shares an address and a
ring shares a telephone. Variants say how the string was written this time.
"""

from __future__ import annotations

from datetime import date
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .identities import BIRTH_IN_NUMBER, CALLING_CODE, check_digit, fold, words
from .vocabulary import CODES, COUNTRIES, CULTURES, NICKNAMES, WORKPLACES

Ids = NDArray[np.uint64]

LETTERS: Final = "ABCDEFGHJKLMNPQRSTUVWXYZ"
AS_IS, MISSPELT, PLAIN, REORDERED, SHORTENED, EXTENDED, LOOK_ALIKE = range(7)
"""How a name or an address was written.

PLAIN: without accents. EXTENDED: with a second name or a flat number. LOOK_ALIKE: some letters of another script.
"""

OWN_MAIL, YOUNG_MAIL, THROWAWAY_MAIL, FOREIGN_MAIL = range(4)
"""YOUNG: name and digits at a large provider; THROWAWAY: a disposable domain; FOREIGN: random letters."""

_LATIN_SHARE: Final = 0.85
"""Of those whose language has another script, how many write their name in Latin letters as their passport does."""

_LOOK_ALIKE: Final = str.maketrans({"a": "\u0430", "o": "\u043e"})

# Nobody else has the mailbox: where a name alone would not tell two people apart, digits, letters or a workplace do.
_LOCAL_PARTS: Final[tuple[str, ...]] = (
    *["{given}.{family}{digits}"] * 4,
    *["{given}{family}{digits}"] * 3,
    *["{given}.{pair}.{family}"] * 4,
    *["{initial}{family}{digits}"] * 3,
    *["{family}.{given}{digits}"] * 2,
    *["{nick}{other}{digits}{pair}"] * 3,
    "{nick}.{given}{digits}",
)
_THROWAWAY: Final = ("mailinator.com", "yopmail.com", "trashmail.com", "maildrop.cc")
_LARGE: Final = ("gmail.com", "outlook.com", "proton.me", "hotmail.com")
_MAILBOXES: Final[dict[int, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    YOUNG_MAIL: (("{given}{family}{digits}",), _LARGE),
    THROWAWAY_MAIL: (("{given}.{family}", "{letters}{digits}"), _THROWAWAY),
    FOREIGN_MAIL: (("{letters}", "{letters}{digits}"), _LARGE),
}


def mix(ids: Ids, salt: int) -> Ids:
    """Return ids as unrelated as random ones, a bijection for each salt.

    The finaliser of SplitMix64 (Steele, Lea and Flood, 2014, "Fast splittable pseudorandom number generators").
    """
    x = ids + np.uint64(salt * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def bits(ids: Ids, salt: int) -> list[int]:
    return mix(ids, salt).tolist()  # type: ignore[no-any-return]


def _fill(pattern: str, source: int, digit: str = "#", letter: str = "@") -> str:
    out = []
    for c in pattern:
        if c == digit:
            source, n = divmod(source, 10)
            out.append(str(n))
        elif c == letter:
            source, n = divmod(source, len(LETTERS))
            out.append(LETTERS[n])
        else:
            out.append(c)
    return "".join(out)


def misspell(text: str, source: int) -> str:
    """Swap, drop or double one letter, never the first of the text."""
    if len(text) < 4:
        return text
    at = 1 + source % (len(text) - 2)
    match source // 251 % 3:
        case 0:
            return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
        case 1:
            return text[:at] + text[at + 1 :]
        case _:
            return text[:at] + text[at] + text[at:]


def parts_of(source: int, origin: int) -> tuple[str, str]:
    """Given and family name in their own spelling."""
    culture = CULTURES[COUNTRIES[CODES[origin]].culture]
    given = culture.given[source % len(culture.given)].replace("_", " ")
    family = culture.family[(source >> 8) % len(culture.family)]
    if (source >> 16) % 12 == 0:
        given += " " + culture.given[(source >> 24) % len(culture.given)].replace("_", " ")
    if (source >> 20) % 25 == 0:
        family += "-" + culture.family[(source >> 32) % len(culture.family)]
    if "\u0370" <= family[0] <= "\u04ff" and (source >> 40) % 100 < 100 * _LATIN_SHARE:
        given, family = fold(given).title(), fold(family).title()
    return given, family


def name(source: int, origin: int, variant: int, slip: int) -> str:
    """Write a name; `slip` says where a MISSPELT one goes wrong."""
    given, family = parts_of(source, origin)
    text = f"{given} {family}"
    match variant:
        case 1:
            text = misspell(text, slip)
        case 2:
            text = fold(text).title()
        case 3:
            text = f"{family} {given}"
        case 4:
            text = f"{given[0]}. {family}"
        case 5:
            # The rest of the source stays, or the second name could come out in another script.
            text = f"{given} {parts_of(source >> 8 << 8 | slip & 0xFF, origin)[0]} {family}"
        case 6:
            text = text.translate(_LOOK_ALIKE)
    return text


def document(series: int, source: int, origin: int, born: int, wrong_digit: bool) -> str:
    """Write a document number: four characters from the series, the rest its own, the check digit last."""
    code = CODES[origin]
    pattern = COUNTRIES[code].document
    if code in BIRTH_IN_NUMBER:
        pattern = pattern.replace("B", f"{date.fromordinal(born):%y%m%d}")
    pattern = pattern.replace("A", "L" if source % 3 else "D")
    number = _fill(pattern[:4], series, "D", "L") + _fill(pattern[4:], source, "D", "L")
    return number + str((check_digit(number) + (1 + source % 9 if wrong_digit else 0)) % 10)


def address(source: int, residence: int, variant: int, slip: int) -> str:
    country = COUNTRIES[CODES[residence]]
    streets, cities = country.streets.split("|"), country.cities.split("|")
    street = streets[source % len(streets)]
    city = cities[(source >> 8) % len(cities)]
    house = str(1 + (source >> 16) % 160) + ("ab"[source >> 24 & 1] if source >> 25 & 15 == 0 else "")
    postcode = city[:2] + _fill(country.postcode[2:], source >> 32)
    if variant == MISSPELT:
        longest = max(street.split(), key=len)
        street = street.replace(longest, misspell(longest, slip))
    if variant == SHORTENED:
        street = street.replace("straße", "str.").replace("avenue", "av.").replace("straat", "str.")
    if variant == EXTENDED:
        house += f"/{slip % 40 + 1}"
    text = f"{street.format(n=house)}, {postcode} {city[2:]}"
    return fold(text).upper() if variant == PLAIN else text


def phone(source: int, code: str) -> str:
    facts = COUNTRIES[code]
    return f"+{CALLING_CODE[code]}{facts.mobile}{_fill('#' * (facts.phone_digits - len(facts.mobile)), source)}"


def email(source: int, owner: int, origin: int, style: int) -> str:
    """Write an e-mail address; the owner's name is made from `owner` and `origin`."""
    own = words(" ".join(parts_of(owner, origin)))
    parts = {
        "given": own[0],
        "family": own[-1],
        "initial": own[0][0],
        "nick": NICKNAMES[source % len(NICKNAMES)],
        "other": NICKNAMES[(source >> 5) % len(NICKNAMES)],
        "pair": _letters(source >> 36, 2),
        "letters": _letters(source >> 4, 6 + (source >> 40) % 5),
        "digits": str((source >> 16) % 10_000)[: 2 + (source >> 32) % 3],
    }
    own_way = (_LOCAL_PARTS, tuple(COUNTRIES[CODES[origin]].mail.split()))
    locals_, domains = _MAILBOXES.get(style, own_way)
    domain = domains[(source >> 8) % len(domains)]
    if style == OWN_MAIL and (source >> 40) % 6 == 0:
        domain, parts["digits"] = f"{WORKPLACES[(source >> 48) % len(WORKPLACES)]}-{parts['pair']}.example", ""
    return f"{locals_[(source >> 52) % len(locals_)].format(**parts)}@{domain}"


def _letters(source: int, length: int) -> str:
    return _fill("@" * length, source).lower()
