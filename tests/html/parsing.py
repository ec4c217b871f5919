"""What a browser reads in our HTML: elements by html5lib, candidates by the HTML standard's own steps."""

from __future__ import annotations

from typing import NamedTuple

import html5lib

_SPACE = " \t\n\f\r"


class Candidate(NamedTuple):
    """One entry of a ``srcset``: its URL, a number, and the descriptor's letter (``""`` = none, which means 1x)."""

    url: str
    number: float
    letter: str


class Tag(NamedTuple):
    """One element: name and attributes."""

    name: str
    attributes: dict[str, str]

    @property
    def candidates(self) -> list[Candidate]:
        return parse_srcset(self.attributes.get("srcset", ""))


def parse(html: str) -> list[Tag]:
    """Return the one element of a fragment: an ``<img>``, or the children of a ``<picture>``, in order.

    Nothing else may be there, not even text.
    """
    fragment = html5lib.parseFragment(html, treebuilder="etree", namespaceHTMLElements=False)
    assert len(fragment) == 1, html
    found = list(fragment[0]) if fragment[0].tag == "picture" else [fragment[0]]
    for element in (fragment, fragment[0], *found):
        assert not (element.text or "").strip(), html
        assert element is fragment or not (element.tail or "").strip(), html
    assert [e.tag for e in found] == ["source"] * (len(found) - 1) + ["img"], html
    return [Tag(e.tag, dict(e.attrib)) for e in found]


def parse_srcset(text: str) -> list[Candidate]:
    """Return the candidates as a browser splits them; one that it would drop fails.

    Steps: https://html.spec.whatwg.org/multipage/images.html#parse-a-srcset-attribute
    """
    found = []
    rest = text
    while rest := rest.lstrip(_SPACE + ","):
        url = rest.split(maxsplit=1)[0] if rest[0] not in _SPACE else ""
        rest = rest[len(url) :]
        if url.endswith(","):
            descriptors = ""
            url = url.rstrip(",")
        else:
            descriptors, _, rest = rest.partition(",")  # none of ours has parentheses
        words = descriptors.split()
        assert len(words) <= 1, text
        if words:
            found.append(Candidate(url, float(words[0][:-1]), words[0][-1]))
        else:
            found.append(Candidate(url, 1.0, ""))
        assert found[-1].letter in ("", "w", "x"), text
        assert found[-1].number > 0, text
    return found
