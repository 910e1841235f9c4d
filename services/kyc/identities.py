"""What is compared of an identity: check digits, calling codes, and spellings that mean the same."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_VALUES: Final = {c: i for i, c in enumerate("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ")} | {"<": 0}
_WEIGHTS: Final = (7, 3, 1)

BIRTH_IN_NUMBER: Final = {"EE": 1, "LT": 1, "LV": 1, "RO": 1, "SE": 0, "BG": 0}
"""Countries whose number holds the birth date as YYMMDD, and where it begins."""

_THROWN_AWAY: Final = """
10minutemail.com dispostable.com fakeinbox.com getnada.com grr.la guerrillamail.com mail-temp.com maildrop.cc
mailinator.com mailnesia.com mintemail.com mohmal.com sharklasers.com spamgourmet.com temp-mail.org tempmail.dev
throwawaymail.com trashmail.com trashmail.de wegwerfmail.de yopmail.com yopmail.fr
"""
DISPOSABLE: Final = frozenset(_THROWN_AWAY.split())
"""Domains that give anybody a mailbox for some minutes."""

# ITU-T E.164 assignments by ISO 3166-1 code. Territories share codes, so a number is tested against a country,
# never looked up.
_CODES: Final = """
1 AG AI AS BB BM BS CA DM DO GD GU JM KN KY LC MP MS PR SX TC TT US VC VG VI
7 KZ RU
20 EG 27 ZA 30 GR 31 NL 32 BE 33 FR 34 ES 36 HU 39 IT VA 40 RO 41 CH 43 AT 44 GB GG IM JE 45 DK 46 SE 47 NO SJ 48 PL
49 DE 51 PE 52 MX 53 CU 54 AR 55 BR 56 CL 57 CO 58 VE 60 MY 61 AU CC CX 62 ID 63 PH 64 NZ 65 SG 66 TH 81 JP 82 KR
84 VN 86 CN 90 TR 91 IN 92 PK 93 AF 94 LK 95 MM 98 IR 211 SS 212 EH MA 213 DZ 216 TN 218 LY 220 GM 221 SN 222 MR
223 ML 224 GN 225 CI 226 BF 227 NE 228 TG 229 BJ 230 MU 231 LR 232 SL 233 GH 234 NG 235 TD 236 CF 237 CM 238 CV
239 ST 240 GQ 241 GA 242 CG 243 CD 244 AO 245 GW 246 IO 248 SC 249 SD 250 RW 251 ET 252 SO 253 DJ 254 KE 255 TZ
256 UG 257 BI 258 MZ 260 ZM 261 MG 262 RE YT 263 ZW 264 NA 265 MW 266 LS 267 BW 268 SZ 269 KM 290 SH 291 ER 297 AW
298 FO 299 GL 350 GI 351 PT 352 LU 353 IE 354 IS 355 AL 356 MT 357 CY 358 AX FI 359 BG 370 LT 371 LV 372 EE 373 MD
374 AM 375 BY 376 AD 377 MC 378 SM 380 UA 381 RS 382 ME 383 XK 385 HR 386 SI 387 BA 389 MK 420 CZ 421 SK 423 LI
500 FK 501 BZ 502 GT 503 SV 504 HN 505 NI 506 CR 507 PA 508 PM 509 HT 590 BL GP MF 591 BO 592 GY 593 EC 594 GF
595 PY 596 MQ 597 SR 598 UY 599 BQ CW 670 TL 672 NF 673 BN 674 NR 675 PG 676 TO 677 SB 678 VU 679 FJ 680 PW 681 WF
682 CK 683 NU 685 WS 686 KI 687 NC 688 TV 689 PF 690 TK 691 FM 692 MH 850 KP 852 HK 853 MO 855 KH 856 LA 880 BD
886 TW 960 MV 961 LB 962 JO 963 SY 964 IQ 965 KW 966 SA 967 YE 968 OM 970 PS 971 AE 972 IL 973 BH 974 QA 975 BT
976 MN 977 NP 992 TJ 993 TM 994 AZ 995 GE 996 KG 998 UZ
"""


def _calling_codes(table: str) -> dict[str, str]:
    codes: dict[str, str] = {}
    code = ""
    for word in table.split():
        if word.isdigit():
            code = word
        else:
            codes[word] = code
    return codes


CALLING_CODE: Final = _calling_codes(_CODES)

# Letters that Unicode does not decompose, and the usual Latin spelling of Greek and Cyrillic ones.
_LATIN: Final = str.maketrans(
    {"æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i", "ə": "e", "ħ": "h"}
    | {"ж": "zh", "х": "kh", "ц": "ts", "ч": "ch", "ш": "sh", "щ": "shch", "ю": "yu", "я": "ya", "ь": "", "ъ": ""}
    | {"є": "ye", "θ": "th", "χ": "ch", "ψ": "ps", "'": "", "’": "", "ʼ": "", "`": ""}
    | dict(zip("абвгґдезиійклмнопрстуфыэђјљњћџ", "abvggdeziijklmnoprstufyedjlncd", strict=True))
    | dict(zip("αβγδεζηικλμνξοπρστυφωσς", "avgdeziiklmnxoprstyfoss", strict=True))
)

_WORD: Final = re.compile(r"[^\W_]+")


def check_digit(text: str) -> int:
    """Return the check digit of ICAO Doc 9303 part 3: weights 7, 3, 1 over 0-9, A-Z (10-35) and "<" (0), modulo 10.

    Raises KeyError for any other character.
    """
    return sum(_VALUES[c] * _WEIGHTS[i % 3] for i, c in enumerate(text)) % 10


def document_holds(number: str) -> bool:
    """Whether the last character is the check digit of those before it."""
    return number[1:] != "" and number[-1] == str(check_digit(number[:-1]))


def birth_in_document(number: str, country: str) -> str | None:
    """Return the YYMMDD in the number; None where the country's numbers hold no birth date or this one is too short."""
    start = BIRTH_IN_NUMBER.get(country)
    if start is None or not (digits := number[start : start + 6]).isdigit() or len(digits) < 6:
        return None
    return digits


def phone_in(phone: str, country: str) -> bool | None:
    """Whether an E.164 number belongs to the country; None for a country without a calling code of its own."""
    code = CALLING_CODE.get(country)
    return None if code is None else phone.startswith(code, 1)


def fold(text: str) -> str:
    """Write in lower-case Latin letters without accents, as far as letters are known; others stay."""
    text = text.casefold()
    if text.isascii():
        return text.replace("'", "").replace("`", "")
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return plain.translate(_LATIN)


def words(text: str) -> list[str]:
    return _WORD.findall(fold(text))


def name_key(name: str) -> str:
    """The same for any accents, case and order of the parts."""
    return " ".join(sorted(words(name)))


def document_key(number: str, country: str) -> str:
    return f"{country}:{number}"


def phone_key(phone: str) -> str:
    return "".join(c for c in phone if c.isdigit())


def email_key(email: str) -> str:
    """The same for any case, any +tag, and any dots where the provider ignores them."""
    local, _, domain = email.strip().lower().rpartition("@")
    local = local.partition("+")[0] or local
    if domain in ("gmail.com", "googlemail.com"):
        return local.replace(".", "") + "@gmail.com"
    return f"{local}@{domain}"


def address_key(address: str) -> str:
    """A match code: numbers whole, words cut to four letters, sorted: abbreviations and word order do not split it.

    "Hauptstraße 12, 10115 Berlin" and "Berlin 10115, hauptstr. 12" are one.
    """
    return " ".join(sorted(w if w[0].isdigit() else w[:4] for w in words(address)))


def _pairs(word: str) -> set[str]:
    return {word[i : i + 2] for i in range(len(word) - 1)}


def email_overlap(name: str, email: str) -> float:
    """Share of the letter pairs that name and local part have in common, of the smaller set; in [0, 1]."""
    mail: set[str] = set()
    for run in re.findall(r"[a-z]+", email.rpartition("@")[0].lower()):
        mail |= _pairs(run)
    own: set[str] = set()
    for word in words(name):
        own |= _pairs(word)
    smaller = min(len(mail), len(own))
    return len(mail & own) / smaller if smaller else 0.0


def script_count(name: str) -> int:
    """Number of writing systems among the letters: more than one is how a look-alike letter shows."""
    if name.isascii():
        return 1
    return len({unicodedata.name(c, "?").partition(" ")[0] for c in name if c.isalpha()})
