"""Telephone numbers in the spellings that people use, and as programs read them."""

import pytest

from server.rpc.formats.phones import LONGEST, is_phone, to_e164

MOSCOW = "+74951234567"


@pytest.mark.parametrize(
    ("spelt", "read"),
    [
        ("(495) 123-45-67", MOSCOW), ("495/123-45-67", MOSCOW), ("8 (495) 123-45-67", MOSCOW),
        ("(8-495) 123-45-67", MOSCOW), ("7 495 123 45 67", MOSCOW), ("(+7) 495 123-45-67", MOSCOW),
        ("+7\u00a0495\u00a0123\u201145\u201167", MOSCOW), ("+7 495 123\u221245\u221267", MOSCOW),
        ("+7 495 123\u201345\u201467", MOSCOW), ("+7\u2007495\u202f123\u20094567", MOSCOW),
        ("tel:+7-495-123-45-67", MOSCOW), ("TEL: +7 495 123 45 67", MOSCOW),
        ("Тел.: +7 495 123-45-67", MOSCOW), ("tel:123-45-67;phone-context=+7495", MOSCOW),
        ("+7.495.123.45.67", MOSCOW), ("[495] 123 45 67", MOSCOW),
        ("＋７（４９５）１２３－４５－６７", MOSCOW), ("+٧٤٩٥١٢٣٤٥٦٧", MOSCOW), ("८४९५१२३४५६७", MOSCOW),
        ("tel:+74951234567;ext=12", f"{MOSCOW};ext=12"), ("+7 495 123-45-67 ext. 12", f"{MOSCOW};ext=12"),
        ("+7 495 123-45-67 x12", f"{MOSCOW};ext=12"), ("+7 495 123-45-67 доб. 12", f"{MOSCOW};ext=12"),
        ("+7 495 123-45-67 (добавочный 12)", f"{MOSCOW};ext=12"), ("+74951234567,,12#", f"{MOSCOW};ext=12"),
        ("+7 495 123-45-67 #12", f"{MOSCOW};ext=12"), ("+7 495 123-45-67, доб. 12", f"{MOSCOW};ext=12"),
        ("tel://+74951234567", MOSCOW), ("+7 495 123-45-67 extensión 12", f"{MOSCOW};ext=12"),
        ("0049 30 123456", "+4930123456"), ("810 49 30 123456", "+4930123456"),
        ("+49 (0)30 123456", "+4930123456"), ("+44 (0) 20 7946 0958", "+442079460958"),
        ("+1-800-FLOWERS", "+18003569377"), ("1-800-FLOWERS", "+18003569377"),
        ("+1 800 flowers", "+18003569377"), ("+1-800-GO-FEDEX", "+18004633339"),
        ("8-800-FLOWERS", "+78003569377"),
    ],
)  # fmt: skip
def test_a_number_is_read_in_any_spelling(spelt: str, read: str) -> None:
    assert is_phone(spelt)
    assert to_e164(spelt) == read


@pytest.mark.parametrize(
    "text",
    [
        "phone", "123", "112", "+", "00000", "+1234", "call me", "abc123", "abc+74951234567",
        "+7 495 123-45-67 call me", "Call +7 495 123-45-67", "7 Lenina St", "1 Example Street",
        "+7 495 123-45-67, +7 495 123-45-68", "+7" * 40, "1-2-3", "12/05/2024", "FLOWERS", "+7 495\n1234567",
        "+7 495 123-45-67" + " " * LONGEST,
    ],
)  # fmt: skip
def test_what_is_no_number_is_refused_and_shown_as_it_is(text: str) -> None:
    assert not is_phone(text)
    assert to_e164(text) == text
