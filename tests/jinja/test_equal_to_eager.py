"""Whatever a template does with an image, the page is the one that rendering each image where it stands would give."""

# ruff: noqa: E501, ISC004 - tables of templates

from __future__ import annotations

import re
from typing import ClassVar

import pytest
from jinja2 import Environment, nodes, select_autoescape
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedEnvironment

from tests.jinja.conftest import Pair


class KeepExtension(Extension):
    """A ``{% keep "name" %}`` fragment cache, as its documentation would show it."""

    tags: ClassVar[set[str]] = {"keep"}

    def __init__(self, environment):
        super().__init__(environment)
        self.kept: dict[str, str] = {}

    def parse(self, parser):
        lineno = next(parser.stream).lineno
        arguments = [parser.parse_expression()]
        body = parser.parse_statements(("name:endkeep",), drop_needle=True)
        method = "_akeep" if self.environment.is_async else "_keep"
        return nodes.CallBlock(self.call_method(method, arguments), [], [], body).set_lineno(lineno)

    def _keep(self, name, caller):
        kept = self.kept
        if name not in kept:
            kept[name] = caller()
        return kept[name]

    async def _akeep(self, name, caller):
        kept = self.kept
        if name not in kept:
            kept[name] = await caller()
        return kept[name]


EXTENSIONS = ["jinja2.ext.i18n", "jinja2.ext.do", "jinja2.ext.loopcontrols", KeepExtension]

PARTS = {
    "base": "<head>{% block head %}{{ img('p0.jpg', width=300, alt='head') }}{% endblock %}</head>"
    "{% block body %}empty{% endblock %}<footer>{{ img('p4.jpg', width=300, alt='foot') }}</footer>",
    "card": "<li>{{ img(name, width=300, alt=name) }}</li>",
    "macros": "{% macro card(name) %}<li>{{ img(name, width=300, alt=name) }}{{ caller() if caller }}</li>{% endmacro %}",
    "hero": "{% set hero %}<b>{{ img('p0.jpg', width=300, alt='hero') }}</b>{% endset %}"
    "{% set bound = img('p1.jpg', width=300, alt='b') %}"
    "{% macro show() %}{{ hero }}{{ bound }}{% endmacro %}"
    "{% macro twice(n) %}{{ img(n, width=300, alt='t') }}{{ img(n, width=300, alt='t') }}{% endmacro %}"
    "{% set pair = [twice('p2.jpg'), hero] %}",
    "outer": "{% set mine = (taken ~ '!')|upper %}{% set same %}{{ taken }}{% endset %}"
    "{% macro again() %}{{ taken }}{{ same }}{% endmacro %}",
}

SET = "{% set x %}<i>{{ img('p1.jpg', width=300, alt='<&\"é') }}</i>{% endset %}"
VAR = "{% set v = img('p2.jpg', width=300, alt='two words') %}"

# name -> template; P1 stands for an image of p1.jpg.
ONE_QUERY = {
    "plain": "{{ P0 }}",
    "text around": "a < b {{ P0 }} &amp; {{ '<' }}",
    "loop": "{% for n in names %}{{ loop.index }}{{ img(n, width=300, alt=n) }}{% if loop.last %}{% break %}{% endif %}"
    "{% endfor %}",
    "unknown picture": "{{ img('new.jpg', width=300, ratio='square', alt='a') }}{{ P1 }}",
    "empty source": "{{ img('', width=300, alt='') }}{{ img(none, alt='') }}{{ img(nothing, alt='') }}"
    "{{ P0 }}",
    "inheritance": "{% extends 'base' %}{% block head %}{{ super() }}{{ img('p1.jpg', width=300, alt='more') }}{% endblock %}"
    "{% block body %}{% for n in names %}{% block item scoped %}{{ img(n, width=300, alt=n) }}{% endblock %}{% endfor %}"
    "{{ self.head() }}{% endblock %}",
    "include": "{% for name in names %}{% include 'card' %}{% endfor %}{% include 'base' without context %}"
    "{% include 'absent' ignore missing %}",
    "macro": "{% macro m(n) %}({{ img(n, width=300, alt=n) }}){% endmacro %}{{ m('p0.jpg') }}{{ m(n='p1.jpg') }}",
    "nested macro": "{% macro m(n) %}({{ img(n, width=300, alt=n) }}){% endmacro %}"
    "{% macro k(n) %}[{{ m(n) }}{{ m(n) }}]{% endmacro %}{{ k('p0.jpg') }}",
    "import": "{% import 'macros' as m %}{% for n in names %}{{ m.card(n) }}{% endfor %}",
    "import with context": "{% import 'macros' as m with context %}{% for n in names %}{{ m.card(n) }}{% endfor %}",
    "from import": "{% from 'macros' import card as c %}{{ c('p0.jpg') }}{{ c('p3.jpg') }}",
    "call": "{% from 'macros' import card %}{% call card('p0.jpg') %}<p>{{ img('p1.jpg', width=300, alt='in') }}</p>{% endcall %}",
    "set block": SET + "{{ x }}{{ x }}",
    "set variable": VAR + "{{ v }}{{ v }}{% if v %}yes{% endif %}",
    "set block in a list": SET + "{% set l = [x, 'a<b', x] %}{% for i in l %}{{ i }}{% endfor %}{{ l[0] }}",
    "with": "{% with p = P0 %}{{ p }}{% endwith %}",
    "namespace": "{% set ns = namespace(h='') %}{% set ns.h = P0 %}{{ ns.h }}",
    "do": "{% set l = [] %}{% do l.append(P0) %}{{ l[0] }}",
    "conditional": "{{ P0 if true else 'no' }}",
    "or": "{{ img('', alt='') or P0 }}",
    "safe": "{{ P0|safe }}{{ P1|safe }}" + SET + "{{ x|safe }}",
    "escape": "{{ P0|e }}" + SET + "{{ x|escape }}{{ x|string }}",
    "forceescape": "{{ P0|forceescape }}" + SET + "{{ x|forceescape }}{{ x|forceescape|forceescape }}",
    "indent and trim": "{% filter indent(4, first=true) %}a\n{{ P0 }}\nb{% endfilter %}"
    "{% filter trim %}  {{ P1 }} {% endfilter %}",
    "join": "{{ [P0, 'a<b', img('p1.jpg', width=300, alt='b')]|join('<br>'|safe) }}"
    + SET + "{{ [x, x]|join(', ') }}",
    "default": "{{ P0|default('none') }}{{ nothing|d(P1) }}",
    "filter on a set block": SET + "{{ x|upper }}",
    "lower": SET + "{{ x|lower }}",
    "title": SET + "{{ x|title }}",
    "replace": SET + "{{ x|replace('img', 'IMG') }}",
    "replace by an image": SET + "{{ 'a HERE b'|replace('HERE', x) }}",
    "length": SET + "{{ x|length }}",
    "format": SET + "{{ '%s and %s'|format(x, x) }}{{ x|format }}",
    "trim characters": SET + "{{ x|trim('<>i') }}",
    "striptags": SET + "[{{ x|striptags }}]",
    "wordwrap": SET + "{{ x|wordwrap(20) }}",
    "wordcount": SET + "{{ x|wordcount }}",
    "truncate": SET + "{{ x|truncate(30) }}",
    "tojson": SET + "{{ x|tojson }}",
    "tojson of a dict": SET + "{{ {'html': x, 'list': [x, 1]}|tojson }}",
    "urlencode": SET + "{{ x|urlencode }}{{ {'q': x}|urlencode }}",
    "xmlattr": SET + "<a{{ {'title': x}|xmlattr }}>",
    "urlize": SET + "{{ ('http://a.example/ ' ~ x)|urlize }}",
    "center": SET + "{{ x|center(900) }}",
    "reverse": SET + "{{ x|reverse }}",
    "list": SET + "{{ x|list|length }}{{ x|first }}{{ x|last }}",
    "map": SET + "{{ [x, 'b']|map('upper')|join('|') }}",
    "filter of the author": SET + "{{ x|shout(tail=x) }}",
    "filter with context": SET + "{{ x|named }}{{ x|escaped }}{{ x|enveloped }}",
    "filter block": "{% filter upper %}a{{ P0 }}{{ P1 }}{% endfilter %}",
    "concatenation": "{{ '<b>' ~ P0 ~ '</b>' }}",
    "concatenation of a set block": SET + "{{ '<b>' ~ x ~ '</b>' }}",
    "plus": SET + "{{ x + '<b>' }}{{ '<b>' + x }}",
    "percent": "{{ '<b>%s</b>' % P0 }}" ,
    "str.format": "{{ '<b>{}</b>'.format(P0) }}",
    "Markup.format": "{{ ('<b>{}</b>'|safe).format(P0) }}",
    "trans": "{% trans p=P0 %}see <b>{{ p }}</b> 100%{% endtrans %}",
    "trans of a set block": SET + "{% trans x=x %}see {{ x }}{% endtrans %}",
    "gettext": "{{ _('see %(p)s', p=P0) }}",
    "pluralised": SET + "{% trans n=2, x=x %}one {{ x }}{% pluralize %}{{ n }} of {{ x }}{% endtrans %}",
    "autoescape off inside": "{% autoescape false %}{{ '<b>' }}{{ img('p0.jpg', width=300, alt='<a>') }}" + SET + "{{ x }}{% endautoescape %}",
    "autoescape on inside": "{% autoescape true %}{{ '<b>' }}{{ img('p0.jpg', width=300, alt='<a>') }}" + SET + "{{ x }}{% endautoescape %}",
    "autoescape changed between": "{% set y = namespace(v='') %}{% autoescape false %}{% set y.v %}<b>{{ img('p0.jpg', width=300, alt='<a>') }}"
    "{% endset %}{% endautoescape %}{% autoescape true %}{{ y.v }}{{ y.v|e }}{% endautoescape %}{{ y.v }}",
    "macro across autoescape": "{% set ns = namespace(m=none) %}{% autoescape false %}"
    "{% macro m() %}<u>{{ img('p0.jpg', width=300, alt='<a>') }}</u>{% endmacro %}{% set ns.m = m %}{{ m() }}{% endautoescape %}"
    "{{ ns.m() }}{% autoescape true %}{{ ns.m() }}{% endautoescape %}",
    "volatile autoescape": "{% autoescape flag %}{{ '<' }}{{ P0 }}" + SET + "{{ x }}{% endautoescape %}",
    "set with a filter": "{% set x | upper %}{{ P0 }}{% endset %}{{ x }}",
    "recursive loop": "{% for n in tree recursive %}{{ img(n.i, width=300, alt='') }}{{ loop(n.c) }}{% endfor %}",
    "keep": "{% keep 'a' %}{{ P0 }}{{ P1 }}{% endkeep %}"
    "{% keep 'a' %}never{% endkeep %}",
    "nested render": "{{ page_of('card', name='p0.jpg')|safe }}",
    "comparison": VAR + "{{ v == v }}{{ v != 1 }}",
}  # fmt: skip

MORE_QUERIES = {
    "module with images": ("{% import 'hero' as h %}{{ h.hero }}{{ h.show() }}{{ h.pair[0] }}{{ h.pair|join }}{{ h.bound }}", 3),
    "module taking an image with context": (
        "{% set taken %}{{ P0 }}{% endset %}"
        "{% import 'outer' as o with context %}{{ o.mine }}{{ o.same }}{{ o.again() }}",
        1,
    ),
    "nested render and own image": ("{{ P1 }}{{ page_of('card', name='p0.jpg')|safe }}", 2),
    "kept and own image": (
        "{{ P1 }}{% keep 'b' %}{{ P0 }}{% endkeep %}",
        1,
    ),
    "concatenations": (
        "{{ P0 }}{{ P1 ~ '' }}{{ P2 ~ '' }}",
        2,
    ),
}  # fmt: skip

CONTEXT = {
    "names": ["p0.jpg", "p1.jpg", "p2.jpg", "p3.jpg"],
    "flag": True,
    "tree": [{"i": "p0.jpg", "c": [{"i": "p1.jpg", "c": []}]}, {"i": "p2.jpg", "c": []}],
}


def prepare(env):
    from jinja2 import pass_context, pass_environment, pass_eval_context

    env.filters["shout"] = lambda text, tail="": f"{len(text)}{text}{tail}"
    env.filters["named"] = pass_context(lambda context, text: f"{context.name}{len(text)}")
    env.filters.update(escaped=pass_eval_context(lambda eval_ctx, text: f"{eval_ctx.autoescape}{text}"))
    env.filters.setdefault("enveloped", pass_environment(lambda environment, text: text[:5]))
    env.install_null_translations(newstyle=True)
    env.globals["page_of"] = lambda template, **context: env.get_template(template).render(**context)


def pair_of(app, source, kind=Environment, **options):
    page = re.sub(r"P(\d)", r"img('p\1.jpg', width=300, alt='a')", source)
    pair = Pair(app, {**PARTS, "page": page}, kind, **{"autoescape": True, "extensions": EXTENSIONS, **options})
    prepare(pair.env)
    prepare(pair.eager)
    prepare(pair.warm)
    return pair


@pytest.mark.parametrize("source", ONE_QUERY.values(), ids=ONE_QUERY)
def test_equals_eager_rendering_in_one_query(app, source):
    _, queries = pair_of(app, source).render(**CONTEXT)
    assert queries <= (3 if "new.jpg" in source else 1)


@pytest.mark.parametrize(("source", "queries"), MORE_QUERIES.values(), ids=MORE_QUERIES)
def test_equals_eager_rendering_where_text_is_needed_earlier(app, source, queries):
    assert pair_of(app, source).render(**CONTEXT)[1] == queries


ALL = {**ONE_QUERY, **{name: source for name, (source, _) in MORE_QUERIES.items()}}


@pytest.mark.slow
@pytest.mark.parametrize("source", ALL.values(), ids=ALL)
def test_equals_eager_rendering_without_autoescape(app, source):
    pair_of(app, source, autoescape=False).render(**CONTEXT)


@pytest.mark.parametrize("source", ALL.values(), ids=ALL)
def test_equals_eager_rendering_in_an_async_environment(app, source):
    pair_of(app, source.replace("page_of", "card_of"), enable_async=True).render(
        card_of=lambda template, name: f"<li>{name}</li>", **CONTEXT
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", [SandboxedEnvironment, ImmutableSandboxedEnvironment])
@pytest.mark.parametrize("source", ALL.values(), ids=ALL)
def test_equals_eager_rendering_in_a_sandbox(app, source, kind):
    if "append" not in source:  # an immutable sandbox refuses it to everybody
        pair_of(app, source, kind).render(**CONTEXT)


@pytest.mark.parametrize("name", ["page.html", "page.txt"])
def test_equals_eager_rendering_with_autoescape_by_name(app, name):
    pair = Pair(app, {**PARTS, name: SET + "{{ x }}{{ '<' }}{% include 'card' %}"}, autoescape=select_autoescape())
    pair.render(name, name="p0.jpg")


@pytest.mark.parametrize("flag", [True, False])
def test_equals_eager_rendering_when_autoescape_is_decided_late(app, flag):
    pair_of(app, ONE_QUERY["volatile autoescape"]).render(**{**CONTEXT, "flag": flag})


def test_keeps_finished_html_in_a_fragment_cache(app):
    pair = pair_of(app, ONE_QUERY["keep"])
    first, _ = pair.render()
    assert first == pair.env.extensions[KeepExtension.identifier].kept["a"] * 2
    second, queries = pair.render()
    assert (second, queries) == (first, 0)
