"""``install()``: what it accepts, keeps and refuses, and that nothing crosses from one environment to another."""

from __future__ import annotations

import pytest
from jinja2 import DictLoader, Environment, FileSystemBytecodeCache, Template, pass_context, pass_eval_context
from jinja2.compiler import CodeGenerator
from jinja2.nativetypes import NativeEnvironment

from easyimg import configure
from easyimg.errors import ConfigError
from easyimg.jinja import install
from tests.counting import Statements

TWO = "{{ img('p0.jpg', width=300, alt='') }}{{ img('p1.jpg', width=300, alt='') }}"


def queries(app, template, **context):
    with Statements(app) as statements:
        html = template.render(**context)
    return html, len(statements)


def test_uses_the_process_default_when_no_app_is_given(app):
    env = Environment()
    install(env)
    previous = configure(app)
    try:
        html, count = queries(app, env.from_string(TWO))
    finally:
        configure(previous)
    assert (html.count("srcset="), count) == (2, 1)


def test_a_page_without_images_needs_no_app():
    env = Environment()
    install(env)
    assert env.from_string("a{{ 1 }}{{ '\ufdd0x' }}").render() == "a1x"


def test_installing_twice_changes_only_the_app(app, make, monkeypatch):
    env = Environment(autoescape=True)
    install(env, make(base_urls={"default": "/first/"}))
    parts = (env.finalize, env.template_class, env.code_generator_class, env.filters)
    install(env, app)
    assert (env.finalize, env.template_class, env.code_generator_class, env.filters) == parts
    html, count = queries(app, env.from_string(TWO))
    assert (html.count('src="/media/'), count) == (2, 1)


def test_refuses_a_native_environment():
    with pytest.raises(ConfigError, match="NativeEnvironment"):
        install(NativeEnvironment())


def test_compiles_templates_again_that_were_compiled_before(app):
    env = Environment(loader=DictLoader({"page": "{% set img = img or none %}" + TWO}))
    env.globals["img"] = None
    with pytest.raises(TypeError):
        env.get_template("page").render()
    install(env, app)
    assert queries(app, env.get_template("page"))[1] == 1


def test_does_not_use_bytecode_from_before(app, tmp_path):
    def environment():
        return Environment(loader=DictLoader({"page": TWO}), bytecode_cache=FileSystemBytecodeCache(str(tmp_path)))

    environment().get_template("page")
    for _ in range(2):
        env = environment()
        install(env, app)
        assert queries(app, env.get_template("page"))[1] == 1
    assert len(list(tmp_path.iterdir())) == 2
    env.bytecode_cache.clear()
    assert list(tmp_path.iterdir()) == []


def test_keeps_the_authors_finalize(app):
    env = Environment(finalize=lambda value: "nothing" if value is None else value)
    install(env, app)
    html, count = queries(app, env.from_string("{{ none }}" + TWO))
    assert html.startswith("nothing<img ")
    assert count == 1


@pytest.mark.parametrize(
    ("mark", "shown"), [(pass_context, lambda c: c.name or "?"), (pass_eval_context, lambda e: str(e.autoescape))]
)
def test_keeps_a_finalize_that_takes_a_context(app, mark, shown):
    env = Environment(finalize=mark(lambda first, value: shown(first) if value is None else value))
    install(env, app)
    html, count = queries(app, env.from_string("{{ none }}" + TWO))
    assert html.startswith(("?<img", "False<img"))
    assert count == 1


def test_a_finalize_that_makes_text_gets_text(app):
    env = Environment(finalize=lambda value: str(value).upper())
    install(env, app)
    assert env.from_string(TWO).render().startswith('<IMG SRC="/MEDIA/')


def test_the_authors_template_class_sees_finished_html(app):
    class Shouting(Template):
        def render(self, *args, **kwargs):
            return super().render(*args, **kwargs).replace("<img", "<IMG")

        def generate(self, *args, **kwargs):
            yield from (piece.upper() for piece in super().generate(*args, **kwargs))

    env = Environment()
    env.template_class = Shouting
    install(env, app)
    template = env.from_string(TWO)
    assert isinstance(template, Shouting)
    html, count = queries(app, template)
    assert (html.count("<IMG"), count) == (2, 1)
    assert "".join(template.generate()).count("<IMG SRC=") == 2


def test_keeps_the_authors_code_generator(app):
    class Own(CodeGenerator):
        pass

    env = Environment()
    env.code_generator_class = Own
    install(env, app)
    assert issubclass(env.code_generator_class, Own)
    assert queries(app, env.from_string(TWO))[1] == 1


def test_an_overlay_of_an_installed_environment_batches(app):
    env = Environment(loader=DictLoader({"page": "{{ '<' }}" + TWO}))
    install(env, app)
    html, count = queries(app, env.overlay(autoescape=True).get_template("page"))
    assert html.startswith("&lt;<img")
    assert count == 1
    assert env.get_template("page").render().startswith("<<img")


def test_installing_in_an_overlay_leaves_the_environment_alone(app, make):
    other = make(base_urls={"default": "/other/"})
    env = Environment()
    install(env, app)
    overlay = env.overlay()
    install(overlay, other)
    assert 'src="/media/' in env.from_string(TWO).render()
    assert 'src="/other/' in overlay.from_string(TWO).render()


def test_two_environments_with_two_apps_do_not_cross(app, make):
    other = make(base_urls={"default": "/other/"})
    one, two = Environment(), Environment(autoescape=True)
    install(one, app)
    install(two, other)
    two.globals["inner"] = one.from_string(TWO).render
    html = two.from_string(TWO + "|{{ inner()|safe }}|" + TWO).render()
    parts = html.split("|")
    assert [part.count('src="/other/') for part in parts] == [2, 0, 2]
    assert [part.count('src="/media/') for part in parts] == [0, 2, 0]


def test_an_image_of_one_environment_keeps_its_app_in_a_page_of_the_other(app, make):
    other = make(base_urls={"default": "/other/"})
    one, two = Environment(), Environment()
    install(one, app)
    install(two, other)
    foreign = one.globals["img"]("p0.jpg", width=300, alt="")
    html = two.from_string(TWO + "|{{ foreign }}|{{ foreign ~ '' }}").render(foreign=foreign)
    assert ['src="/other/' in part for part in html.split("|")] == [True, False, False]


def test_filters_added_later_see_html_and_removed_ones_are_unknown(app):
    env = Environment()
    install(env, app)
    env.filters["size"] = len
    template = env.from_string("{% set x %}{{ img('p0.jpg', width=300, alt='') }}{% endset %}{{ x|size }}|{{ x }}")
    size, html = template.render().split("|")
    assert int(size) == len(html)
    assert env.filters.get("absent") is None
    assert env.call_filter("upper", "a") == "A"
