"""E-mail addresses: when two of them are the same."""


def address_key(address: str) -> str:
    """Returns what is equal for two spellings of one address, and for no two addresses.

    `address` is in normal form: Unicode NFC, the domain valid by IDNA 2008.

    - Domains are compared as A-labels in lower case: `straße.example` is not `strasse.example`, and
      is `xn--strae-oqa.example`.
    - Local parts are compared without case, by Unicode's simple case folding, which maps letter to
      letter: `ИВАН` is `иван`, and `weiß` is not `weiss`. Dots and `+tags` count.

    Whatever asks whether it knows an address already (open invitations, filters, limits) compares
    this and nothing else.
    """
    if address.isascii():
        return address.lower()
    local, _, domain = address.rpartition("@")
    return f"{_without_case(local)}@{'.'.join(map(_a_label, domain.lower().split('.')))}"


def _without_case(text: str) -> str:
    return "".join(map(_fold, text))


def _fold(letter: str) -> str:
    # CaseFolding.txt: status C is a single letter; where the full folding has several (F), the
    # simple one (S) is the lower case if that is a single letter, else the letter itself.
    for folded in (letter.casefold(), letter.lower()):
        if len(folded) == 1:
            return folded
    return letter


def _a_label(label: str) -> str:
    return label if label.isascii() else "xn--" + label.encode("punycode").decode()
