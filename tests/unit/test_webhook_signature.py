"""Who may send: the MAC, its window, and two secrets while one replaces the other."""

import pytest

from infra.settings import UnknownSettingError, get_settings
from infra.webhook.signature import SignatureError, check_signature, sign
from infra.webhook.signing_keys import SigningKeyError, signing_keys

KEY = b"It is a secret of 32 characters."
OTHER = b"Another secret of 32 characters."
TIMESTAMP = "1700000000"
BODY = b'{"id":"nightly-0001","deployment":"adapt/adapt"}'
# printf '%s.%s' "$TIMESTAMP" "$BODY" | openssl dgst -sha256 -hmac "$KEY"
BY_OPENSSL = "sha256=04d9434b66789190a40f6da760062d8b6a0a3d5afb58d9640db835244568b76b"


def test_the_signature_is_what_openssl_computes():
    assert sign(KEY, TIMESTAMP, BODY) == BY_OPENSSL
    check_signature([KEY], TIMESTAMP, BY_OPENSSL, BODY, 1_700_000_000)


@pytest.mark.parametrize("now", [1_699_999_700, 1_700_000_300, 1_700_000_000.5])
def test_within_the_window(now):
    check_signature([KEY], TIMESTAMP, BY_OPENSSL, BODY, now)


@pytest.mark.parametrize(
    ("now", "said"), [(1_699_999_699, "301 s in the future"), (1_700_000_301, "301 s old")]
)
def test_outside_the_window(now, said):
    with pytest.raises(SignatureError, match=said):
        check_signature([KEY], TIMESTAMP, BY_OPENSSL, BODY, now)


def test_both_secrets_are_good_while_one_replaces_the_other():
    for signer in (KEY, OTHER):
        signature = sign(signer, TIMESTAMP, BODY)
        check_signature([OTHER, KEY], TIMESTAMP, signature, BODY, 1_700_000_000)
    with pytest.raises(SignatureError, match="does not fit"):
        check_signature([OTHER], TIMESTAMP, BY_OPENSSL, BODY, 1_700_000_000)


@pytest.mark.parametrize(
    ("timestamp", "body"), [("1700000001", BODY), (TIMESTAMP, BODY + b" "), (TIMESTAMP, b"")]
)
def test_timestamp_and_body_are_both_signed(timestamp, body):
    with pytest.raises(SignatureError, match="does not fit"):
        check_signature([KEY], timestamp, BY_OPENSSL, body, 1_700_000_000)


@pytest.mark.parametrize(
    "signature", ["", BY_OPENSSL[7:], BY_OPENSSL.upper(), BY_OPENSSL[:-1], "sha256=\xe9", "\udcff"]
)
def test_what_is_no_signature(signature):
    with pytest.raises(SignatureError, match="does not fit"):
        check_signature([KEY], TIMESTAMP, signature, BODY, 1_700_000_000)


@pytest.mark.parametrize(
    "timestamp", ["", "0", "01700000000", "1700000000.0", "-1", "1e9", "\u0661" * 9, " 1", "9" * 13]
)
def test_a_timestamp_has_one_spelling(timestamp):
    with pytest.raises(SignatureError, match="whole seconds"):
        check_signature([KEY], timestamp, BY_OPENSSL, BODY, 1_700_000_000)


@pytest.mark.parametrize(("timestamp", "signature"), [(None, BY_OPENSSL), (TIMESTAMP, None)])
def test_both_headers_are_needed(timestamp, signature):
    with pytest.raises(SignatureError, match="Tokgraft-Timestamp and Tokgraft-Signature"):
        check_signature([KEY], timestamp, signature, BODY, 1_700_000_000)


def test_secrets_come_from_the_environment_the_new_one_first():
    new, old = KEY.decode(), OTHER.decode()
    assert signing_keys({"TOKGRAFT_WEBHOOK_SECRET": new}) == (KEY,)
    both = {"TOKGRAFT_WEBHOOK_OLD_SECRET": old, "TOKGRAFT_WEBHOOK_SECRET": new}
    assert signing_keys(both) == (KEY, OTHER)


def test_an_absent_or_short_secret_is_refused_and_not_shown():
    with pytest.raises(SigningKeyError, match="TOKGRAFT_WEBHOOK_SECRET is not set"):
        signing_keys({"TOKGRAFT_WEBHOOK_OLD_SECRET": KEY.decode()})
    short = {"TOKGRAFT_WEBHOOK_SECRET": KEY.decode(), "TOKGRAFT_WEBHOOK_OLD_SECRET": "hush" * 7}
    with pytest.raises(SigningKeyError, match="OLD_SECRET has 28 characters") as caught:
        signing_keys(short)
    assert "hush" not in str(caught.value)


def test_secrets_are_known_variables_and_no_settings(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TOKGRAFT_WEBHOOK_SECRET", "planted")
    assert "planted" not in repr(get_settings())
    get_settings.cache_clear()
    monkeypatch.setenv("TOKGRAFT_WEBHOOK_SECRETS", "misspelt")
    with pytest.raises(UnknownSettingError, match="TOKGRAFT_WEBHOOK_SECRETS in the environment"):
        get_settings()
