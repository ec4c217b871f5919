import pytest

from easyimg import EasyImg, Settings
from easyimg.errors import ConfigError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"storage": {}}, "unknown setting 'storage'; did you mean 'storages'?"),
        ({"storages": {"media": "file:///x"}}, "storages: one must be called 'default'"),
        ({"variants": "vars"}, "variants: no storage 'vars'"),
        ({"base_urls": {"defualt": "/m/"}}, "base_urls: no storage 'defualt'; did you mean 'default'?"),
        ({"base_urls": {"default": "media/"}}, "base_urls: 'default': 'media/' must start with '/'"),
        ({"base_urls": {"default": "javascript:x"}}, "must start with '/'"),
        ({"base_urls": {"default": "//evil/"}}, "must start with '/'"),
        (
            {"base_urls": "https://me:hunter22@cdn.example.com/"},
            "base_urls: 'default': a user or password in it would be",
        ),
        ({"base_urls": "ftp://me:hunter22@cdn/"}, "base_urls: 'default': 'ftp://***@cdn/' must start with '/'"),
        ({"storages": ["s3://me:hunter22@x"]}, "storages: what is set is not a mapping"),
        ({"storage_options": {"default": "hunter22"}}, "storage_options: 'default': what is set is not a mapping"),
        ({"storage_options": {"defualt": {}}}, "storage_options: no storage 'defualt'; did you mean 'default'?"),
        ({"pending": "later"}, "pending: 'later' is not one of 'source', 'placeholder'"),
        ({"csp": "loose"}, "csp: 'loose' is not one of None, 'strict'"),
        ({"isolation": "some"}, "isolation: 'some' is not one of"),
        ({"engine": "magick"}, "engine: 'magick' is not one of 'auto', 'vips', 'pillow'"),
        ({"formats": ["eps"]}, "formats: 'eps' is not in jpeg, png, webp, avif, gif, tiff"),
        ({"formats": ["svg"]}, "formats: 'svg' is not in"),
        ({"max_attempts": 0}, "max_attempts: 0 is not in 1..100"),
        ({"max_animation_pixels": 0}, "max_animation_pixels: 0 is not in 1..1099511627776"),
        ({"threads": True}, "threads: True is not in 1..64"),
        ({"threads": 1.5}, "threads: 1.5 is not a whole number in 1..64"),
        ({"max_attempts": 2.5}, "max_attempts: 2.5 is not a whole number in 1..100"),
        ({"max_pixels": float("nan")}, "max_pixels: nan is not in 1..1099511627776"),
        ({"queue_name": 3}, "queue_name: 3 is not a text"),
        ({"namespace": None}, "namespace: None is not a text"),
        ({"cache_seconds": 60}, "cache_seconds: 60 is not in 0..10"),
        ({"presets": []}, "presets: [] is not a mapping"),
        *(
            ({"presets": {"thumb": {"width": 9}, "card": options}}, f"presets: 'card': {message}")
            for options, message in [
                ({"widht": 300}, "unknown option 'widht'; did you mean 'width'?"),
                ({"width": 0}, "width: 0 is not in 1..16383"),
                ({"crop": "tl"}, "crop='tl' needs a ratio: without one nothing is cut"),
                ({"art": {600: {"ratio": 0}}}, "art[600]: ratio: 0 is not between"),
                ({"img_onclick": "x"}, "img_attrs: 'onclick': event handlers are refused"),
                ({7: 300}, "{7: 300} is not a dict of options of Img"),
                (7, "7 is not a dict of options of Img"),
                ({"img_attrs": 7, "img_class": "a"}, "'int' object is not a mapping"),
            ]
        ),
    ],
)
def test_a_bad_setting_is_refused_at_once(options, message):
    with pytest.raises(ConfigError) as caught:
        EasyImg(**options)
    assert message in str(caught.value)
    assert "hunter22" not in str(caught.value)


def test_the_environment_is_read_with_types():
    settings = Settings.from_env(
        {
            "EASYIMG_STORAGES": '{"default": "file:///a", "cold": "memory://b"}',
            "EASYIMG_BASE_URLS": "/files/",
            "EASYIMG_FORMATS": "jpg, png",
            "EASYIMG_THREADS": "2",
            "EASYIMG_STRICT": "yes",
            "EASYIMG_LEASE_SECONDS": "1.5",
            "EASYIMG_MAX_BYTES": "5_000_000",
            "EASYIMG_PRESETS": '{"card": {"width": 300}}',
            "EASYIMG_APP": "site:app",
            "HOME": "/root",
        }
    )
    assert settings.storages == {"default": "file:///a", "cold": "memory://b"}
    assert settings.base_urls == {"default": "/files/"}
    assert settings.formats == ("jpeg", "png")
    assert (settings.threads, settings.strict, settings.lease_seconds, settings.max_bytes) == (2, True, 1.5, 5_000_000)
    assert settings.presets == {"card": {"width": 300}}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("EASYIMG_STORAGE", "x", "unknown setting 'EASYIMG_STORAGE'; did you mean 'EASYIMG_STORAGES'?"),
        ("EASYIMG_THREADS", "two", "EASYIMG_THREADS: 'two' cannot be read"),
        ("EASYIMG_STRICT", "maybe", "EASYIMG_STRICT: 'maybe' is not one of"),
        ("EASYIMG_PRESETS", "card", "EASYIMG_PRESETS: 'card' cannot be read: write a JSON object"),
        ("EASYIMG_PRESETS", "{", "EASYIMG_PRESETS: '{' cannot be read"),
        ("EASYIMG_STORAGE_OPTIONS", '{"default": "hunter22', "EASYIMG_STORAGE_OPTIONS: what is set cannot be read"),
        (
            "EASYIMG_BASE_URLS",
            '{"x": "https://me:hunter22@cdn',
            """EASYIMG_BASE_URLS: '{"x": "https://***@cdn' cannot""",
        ),
    ],
)
def test_a_bad_variable_is_named(name, value, message):
    with pytest.raises(ConfigError) as caught:
        Settings.from_env({name: value})
    assert message in str(caught.value)
    assert "hunter22" not in str(caught.value)


def test_a_framework_config_is_read_by_prefix():
    settings = Settings.from_mapping({"EASYIMG_QUEUE": "none", "SECRET_KEY": "x"}, prefix="EASYIMG_")
    assert settings.queue == "none"
    with pytest.raises(ConfigError, match="unknown setting 'EASYIMG_QUEU'; did you mean 'EASYIMG_QUEUE'"):
        Settings.from_mapping({"EASYIMG_QUEU": "none"}, prefix="EASYIMG_")


def test_settings_are_frozen_and_changed_by_copy():
    settings = Settings()
    with pytest.raises(AttributeError):
        settings.queue = "none"
    assert settings.replace(queue="none").queue == "none"
    assert settings.queue == "thread"


@pytest.mark.parametrize(
    ("storage", "base_urls"),
    [
        ("media", {"default": "/media/"}),
        ("file:///srv/media", {"default": "/media/"}),
        ("memory://x", {"default": "/media/"}),
        ("s3://bucket", {}),
        ("sftp://host/srv", {}),
        ("simplecache::s3://bucket", {}),
    ],
)
def test_only_files_of_this_machine_have_a_base_url_unasked(storage: str, base_urls: dict[str, str]) -> None:
    assert Settings(storages=storage).base_urls == base_urls
    assert Settings().replace(storages={"default": storage}).base_urls == base_urls
    assert Settings(storages=storage, base_urls="/media/").base_urls == {"default": "/media/"}


def test_settings_show_themselves_without_secrets() -> None:
    settings = Settings(
        storages={"default": "s3://bucket", "backup": "sftp://me:hunter22@host/srv"},
        storage_options={"default": {"key": "AKIAHUNTER22", "secret": "hunter22"}},
        metadata="postgresql://me:hunter22@db/site",
        queue="redis://:hunter22@localhost/0",
    )
    assert "hunter22" not in repr(settings).lower()
    for part in ("'s3://bucket'", "'default': ['key', 'secret']", "postgresql://***@db/site", "max_bytes=20000000"):
        assert part in repr(settings)


def test_a_whole_number_may_be_written_as_a_float():
    memory = Settings(build_memory=2e9).build_memory
    assert (memory, str(memory)) == (2_000_000_000, "2000000000")
