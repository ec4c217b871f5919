"""What the short way of printed images must leave as Jinja2 itself has it."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from jinja2 import Environment, StrictUndefined, nodes
from jinja2.compiler import CodeGenerator
from jinja2.ext import Extension
from jinja2.runtime import Context

from easyimg import Source
from easyimg.jinja import install

IMAGE = "{{ img(p, width=300, alt='') }}"


@pytest.fixture
def render(app):
    def render(template, kind=Environment, values=None, app=app, **options):
        env = kind(autoescape=True, **options)
        install(env, app=app)
        return env.from_string(template).render(values or {"p": "p0.jpg"})

    return render


class Unhashable:
    def __hash__(self):
        raise ValueError("not of use as a key")


CYCLIC: dict[str, Any] = {"name": "a"}
CYCLIC["parent"] = CYCLIC


@pytest.mark.parametrize(
    ("template", "value", "text"),
    [
        ("{% macro img(p, width) %}{{ width is defined }}{% endmacro %}{{ img('a', width=missing) }}", None, "False"),
        ("{% macro img(p, item) %}{{ item.name }}{% endmacro %}{{ img('a', item=item) }}", CYCLIC, "a"),
        ("{% macro img(p, item) %}!{% endmacro %}{{ img('a', item=item) }}", Unhashable(), "!"),
    ],
)
def test_nothing_that_is_given_to_an_img_of_the_authors_own_is_looked_at(render, template, value, text):
    assert render(template, values={"item": value}, undefined=StrictUndefined) == text


class NoPhoto:
    def __easyimg_source__(self):
        return next(iter([]))


def test_a_source_that_runs_out_of_items_is_undefined_as_jinja_has_it(render):
    assert render(f"[{IMAGE}]", values={"p": NoPhoto()}) == "[]"


def test_an_empty_source_needs_no_app(render):
    assert render(f"[{IMAGE}]", values={"p": None}, app=None) == "[]"


class ByPrimaryKey:
    def __init__(self, name):
        self.name = name

    def __easyimg_source__(self):
        return Source("default", self.name)

    def __eq__(self, other):
        return isinstance(other, ByPrimaryKey)

    def __hash__(self):
        return 1


def test_sources_of_art_direction_that_are_equal_keep_their_own_names(render):
    html = render(
        "{% for one in all %}{{ img(p, width=200, art={'print': {'width': 300, 'source': one}}, alt='') }}{% endfor %}",
        values={"p": "p0.jpg", "all": [ByPrimaryKey("one.svg"), ByPrimaryKey("two.svg")]},
    )
    assert html.count("/media/one.svg") == html.count("/media/two.svg") > 0


class BoxExtension(Extension):
    """Prints its expression twice: in a body, and as the argument of a call."""

    tags: ClassVar[set[str]] = {"box"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        shown = parser.parse_expression()
        body = nodes.CallBlock(self.call_method("_body"), [], [], [nodes.Output([shown])])
        return [body.set_lineno(line), nodes.Output([self.call_method("_name", [shown])]).set_lineno(line)]

    def _body(self, caller):
        return caller()

    def _name(self, value):
        return f"({value.source.name})"


class KeptExtension(Extension):
    """Prints its expression under a condition, and evaluates it again afterwards."""

    tags: ClassVar[set[str]] = {"kept"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        shown = parser.parse_expression()
        printed = nodes.If(nodes.Name("condition", "load"), [nodes.Output([shown])], [], [])
        return [printed.set_lineno(line), nodes.Assign(nodes.Name("last", "store"), shown).set_lineno(line)]


def test_an_expression_that_an_extension_uses_twice_is_evaluated_twice(render):
    html = render("{% box img(p, width=300, alt='') %}", extensions=[BoxExtension])
    assert html.startswith("<img ")
    assert html.endswith("(p0.jpg)")
    template = "{% kept img(all.pop(), width=300, alt='') %}{{ last.source.name }}"
    for condition in (True, False):
        values = {"all": ["p0.jpg", "p1.jpg"], "condition": condition}
        html = render(template, values=values, extensions=[KeptExtension])
        assert html.endswith("p0.jpg" if condition else "p1.jpg")
        assert ("<img " in html) is condition


class Wordy(CodeGenerator):
    """Prints without asking the generator below it."""

    def _output_child_pre(self, node, frame, finalize):
        self.write("str(" + (finalize.src or ""))

    def _output_child_post(self, node, frame, finalize):
        self.write("))" if finalize.src else ")")


class WithoutFinalize(CodeGenerator):
    def _make_finalize(self):
        return self._FinalizeInfo(str, None)


class Traced(CodeGenerator):
    def visit_Call(self, node, frame, forward_caller=False):  # noqa: N802 - Jinja2's name
        self.write("environment.traced(")
        super().visit_Call(node, frame, forward_caller)
        self.write(")")


@pytest.mark.parametrize("generator", [Wordy, WithoutFinalize, Traced])
def test_code_generators_of_the_authors_own_have_their_say(render, generator):
    class Kind(Environment):
        code_generator_class = generator
        traced_calls = 0

        def traced(self, value):
            type(self).traced_calls += 1
            return value

    assert "src=" in render("{{ name }}" + IMAGE, Kind, {"p": "p0.jpg", "name": "a"})
    assert Kind.traced_calls == (1 if generator is Traced else 0)


class WithDefaults(Context):
    def call(self, function, *args, **kwargs):
        if getattr(function, "__name__", "") == "img":
            kwargs.setdefault("img_class", "lead")
        return super().call(function, *args, **kwargs)


def test_a_context_of_the_authors_own_makes_the_calls(render):
    class Kind(Environment):
        context_class = WithDefaults

    assert 'class="lead"' in render(IMAGE, Kind)


BLOCKS = (
    "{% set a %}{{ img('b.svg', width=300, alt='') }}{% endset %}"
    "{% set b %}{{ img('b.svg', width=300, alt='') }}{% endset %}"
    "{% set first %}{{ img('a.svg', width=300, alt='') }}{% endset %}"
)


def test_filters_that_compare_or_cut_see_html(render):
    assert render(BLOCKS + "{{ a|join('-') }}").startswith("&lt;-i-m-g- -s-r-c-")
    assert render(BLOCKS + "{{ [a, b, first]|unique|list|length }}") == "2"
    html = render(BLOCKS + "{% for one in [a, b, first]|sort %}{{ one }}{% endfor %}")
    assert html.index("/a.svg") < html.index("/b.svg")
    assert "/a.svg" in render(BLOCKS + "{{ [a, first]|min }}")
    assert "/b.svg" in render(BLOCKS + "{{ [a, first]|max }}")


def test_what_is_no_filter_sees_html_behind_one(render):
    assert render(BLOCKS + "{{ (a|replace('', ''))[:4] }}") == "<img"
    assert render(BLOCKS + "{{ a|replace('', '') == b|replace('', '') }}") == "True"
