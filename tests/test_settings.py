from pathlib import Path

import pytest

from service.settings import PREFIX, BadSetting, Settings, load_settings

README = Path(__file__).parents[1] / "docs" / "settings.md"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("COUNTERSIGN_WORKERS", "0"),
        ("COUNTERSIGN_WORKERS", "many"),
        ("COUNTERSIGN_BIND", "nowhere"),
        ("COUNTERSIGN_LOG_LEVEL", "loud"),
        ("COUNTERSIGN_DATABASE_URL", "mysql://there"),
        ("COUNTERSIGN_KEYSTORE_URL", "memory:"),
        ("COUNTERSIGN_MODELS", "s3://bank/models"),
        ("COUNTERSIGN_MODEL_STORE", "https://bank/models"),
        ("COUNTERSIGN_AUDIT_HEADS", "ftp://bank/heads"),
    ],
)
def test_a_bad_setting_is_refused_with_its_key_and_value(
    monkeypatch: pytest.MonkeyPatch, key: str, value: str
) -> None:
    monkeypatch.setenv(key, value)

    with pytest.raises(BadSetting) as refusal:
        load_settings()

    assert key in str(refusal.value)
    assert value in str(refusal.value)


def test_a_refused_url_does_not_show_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERSIGN_DATABASE_URL", "mysql://bank:hunter2@host/db")

    with pytest.raises(BadSetting) as refusal:
        load_settings()

    assert "hunter2" not in str(refusal.value)


def test_the_documentation_lists_every_setting_with_its_default_and_meaning() -> None:
    documented = README.read_text("utf-8")

    for name, field in Settings.model_fields.items():
        assert f"`{PREFIX}{name.upper()}`" in documented
        assert str(field.description) in documented
