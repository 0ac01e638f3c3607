"""Where settings come from, what is refused, and what is shown of them."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from server.commands import cli
from server.config import SettingsError
from server.settings_sources import (
    load_settings,
    require_for_production,
    secret_settings,
    shown,
    variable,
)


@pytest.fixture(autouse=True)
def _var(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BILLING_VAR", str(tmp_path / "var"))


def refused() -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings()
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("BILLING_DATBASE_URL", "BILLING_DATABASE_URL"),
        ("BILLING_SMTP_UR", "BILLING_SMTP_URL"),
        ("BILLING_HTTP_PROT", "BILLING_HTTP_PORT"),
        ("billing_maxstreams", "BILLING_MAX_STREAMS"),
        ("BILLING_SMTP_URL_FIL", "BILLING_SMTP_URL_FILE"),
    ],
)
def test_an_unknown_variable_is_refused_with_what_was_meant(
    monkeypatch: pytest.MonkeyPatch, name: str, meant: str
) -> None:
    monkeypatch.setenv(name, "x")
    assert refused() == f"{name}: there is no such setting; {meant} was probably meant"


def test_a_variable_that_is_like_no_setting_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BILLING_QQQQQQ", "secret")
    assert refused() == "BILLING_QQQQQQ: there is no such setting; `settings` lists them all"


def test_all_that_is_wrong_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BILLING_HTTP_PORT", "0")
    monkeypatch.setenv("BILLING_COUNTRY", "Russia")
    assert [line.split(":")[0] for line in refused().splitlines()] == [
        "BILLING_HTTP_PORT",
        "BILLING_COUNTRY",
    ]


def test_the_environment_goes_before_files_and_files_before_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "billing.toml"
    config.write_text(
        "http_port = 8081\nhttps_port = 8444\nsmtp_url = 'smtp://config'\nwebhook_allow_private = true\n"
    )
    secret = tmp_path / "smtp"
    secret.write_text("smtp://user:secret@mail.example.com\n")
    monkeypatch.setenv("BILLING_CONFIG", str(config))
    monkeypatch.setenv("BILLING_SMTP_URL_FILE", str(secret))
    monkeypatch.setenv("BILLING_HTTPS_PORT", "8445")
    settings, origins = load_settings()
    assert (settings.http_port, origins["http_port"]) == (8081, str(config))
    assert (settings.https_port, origins["https_port"]) == (8445, "environment")
    assert settings.smtp_url == "smtp://user:secret@mail.example.com"
    assert origins["smtp_url"] == f"{secret} (BILLING_SMTP_URL_FILE)"
    assert settings.webhook_allow_private
    assert origins["grpc_port"] == "default"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("htp_port = 1", "there is no setting 'htp_port'; http_port was probably meant"),
        ("BILLING_HTTP_PORT = 1", "'BILLING_HTTP_PORT'; http_port was probably meant"),
        ("[server]\nhttp_port = 1", "there is no setting 'server'"),
        ("servers = ['a:1', 'b:1']", "servers is one text, number or truth value"),
        ("http_port = 0", "BILLING_HTTP_PORT in {config}: Input should be greater"),
        ("http_port 1", "is not TOML"),
        ("\udcff", "is not UTF-8"),
        ("http_port = true", "http_port is no truth value"),
        ("rate_limit = false", "rate_limit is no truth value"),
        ("drain_s = inf", "BILLING_DRAIN_S in {config}: Input should be a finite number"),
        ("rate_limit = nan", "BILLING_RATE_LIMIT in {config}: Input should be a finite number"),
        ('keys = "/a\\u0000b"', "BILLING_KEYS in {config}: holds control characters"),
        ("country = 7", "BILLING_COUNTRY in {config}: Input should be a valid string"),
        ("http_port = 1979-05-27", "http_port is one text, number or truth value"),
        ("[" * 100_000, "is not TOML"),
        ("config = '/etc/other.toml'", "there is no setting 'config'"),
        ("var = 'var'", "var is a folder's whole path, which begins with /"),
    ],
)
def test_a_file_that_is_wrong_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    config = tmp_path / "billing.toml"
    config.write_bytes(text.encode(errors="surrogateescape"))
    monkeypatch.setenv("BILLING_CONFIG", str(config))
    assert said.format(config=config) in refused()


def test_files_that_can_not_be_read_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path / "empty"
    empty.write_text(" \n")
    monkeypatch.setenv("BILLING_CONFIG", str(tmp_path / "none.toml"))
    monkeypatch.setenv("BILLING_SMTP_URL_FILE", str(tmp_path))
    monkeypatch.setenv("BILLING_DATABASE_URL_FILE", str(empty))
    monkeypatch.setenv("BILLING_WEBHOOK_PROXY_FILE", "")
    assert sorted(refused().splitlines()) == [
        f"BILLING_CONFIG: {tmp_path}/none.toml can't be read: No such file or directory",
        f"BILLING_DATABASE_URL_FILE: {empty} is empty",
        f"BILLING_SMTP_URL_FILE: {tmp_path} can't be read: Is a directory",
        "BILLING_WEBHOOK_PROXY_FILE: is empty: name a file, or leave it out",
    ]


def test_a_secret_is_one_line_of_a_file_of_some_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "url"
    monkeypatch.setenv("BILLING_SMTP_URL_FILE", str(file))
    for end in ("\n", "\r\n", ""):
        file.write_text(f"smtp://mail.example.com{end}")
        assert load_settings().settings.smtp_url == "smtp://mail.example.com"
    file.write_text("smtp://mail.example.com\nhunter2\n")
    assert refused() == (
        f"BILLING_SMTP_URL in {file} (BILLING_SMTP_URL_FILE): holds control characters, such as "
        "the end of a line"
    )
    file.write_bytes(b"\xff")
    assert refused() == f"BILLING_SMTP_URL_FILE: {file} is not UTF-8"
    monkeypatch.setenv("BILLING_SMTP_URL_FILE", "/dev/zero")
    assert refused() == "BILLING_SMTP_URL_FILE: /dev/zero has more than 1024 KiB"
    monkeypatch.setenv("BILLING_SMTP_URL_FILE", "~nobody-of-that-name/url")
    assert refused().endswith("can't be read: there is no such user")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("BILLING_DRAIN_S", "inf", "finite number"),
        ("BILLING_SHUTDOWN_S", "1e300", "less than or equal to 3600"),
        ("BILLING_INVITATION_LIFETIME_D", "1000000000", "less than or equal to 3650"),
        ("BILLING_EVENT_RETENTION_D", "99999999", "less than or equal to 36500"),
        ("BILLING_MAIL_GIVE_UP_AFTER_H", "1e12", "less than or equal to 8760"),
        ("BILLING_MAX_BODY_BYTES", "99999999999", "less than or equal to 67108864"),
        ("BILLING_VAR", " ", "name the folder"),
        ("BILLING_VAR", "/", "a folder of its own"),
        ("BILLING_ENDPOINT", "billing.example.com:99999", "from 1 to 65535"),
        ("BILLING_TRACES_URL", "http://collector:99999/", "from 1 to 65535"),
        ("BILLING_SERVERS", "10.0.0.1:50051, 10.0.0.2:0", "from 1 to 65535"),
        ("BILLING_SERVERS", "10.0.0.1:50051,server", "list servers like"),
        ("BILLING_SERVERS", "http://server:50051", "list servers like"),
        ("BILLING_VAR", "~nobody-of-that-name/var", "a user that this machine does not have"),
        ("BILLING_DKIM_KEY", "/a.pem,~nobody-of-that-name/b.pem", "a user that this machine"),
        ("BILLING_TLS_KEY", "~nobody-of-that-name/key.pem", "a user that this machine"),
        ("BILLING_MAIL_FROM", "a@example.com\nBcc: b@example.com", "holds control characters"),
        ("BILLING_KEYS", "/keys\udcff", "is not UTF-8"),
        ("BILLING_HTTP_PORT\x1b[2J", "1", "BILLING_HTTP_PORT?[2J: there is no such setting"),
    ],
)
def test_values_that_nothing_can_be_done_with_are_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    assert said in refused()
    assert refused().count("\n") == 0


def test_a_setting_is_not_given_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("billing_http_port", "8081")
    monkeypatch.setenv("BILLING_HTTP_PORT", "8082")
    assert refused().endswith(": set one of them")


def test_a_secret_stands_in_one_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "url"
    file.write_text("sqlite:////tmp/x.db")
    monkeypatch.setenv("BILLING_DATABASE_URL_FILE", str(file))
    monkeypatch.setenv("BILLING_DATABASE_URL", "sqlite:////tmp/x.db")
    assert refused() == "BILLING_DATABASE_URL and BILLING_DATABASE_URL_FILE: set one of them"


def test_an_empty_folder_is_not_the_one_that_a_command_runs_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BILLING_VAR", "")
    assert refused().startswith("BILLING_VAR: name the folder")


@pytest.mark.parametrize("name", sorted(secret_settings()))
@pytest.mark.parametrize(
    "url",
    [
        "postgresql://billing:hunter2@db.internal/billing",
        "smtp://user:hun@ter2/hunter2?hunter2@mail.example.com:587",
        "smtp://hunter2:x@mail.example.com?starttls=required",
        "postgresql://db/billing?password=hunter2&user=hunter2",
        "hunter2",
        "http://user:hunter2@proxy:3128",
    ],
)
def test_secrets_are_not_shown(name: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings().settings.model_copy(update={name: url})
    assert "hunter2" not in shown(settings, name)


def test_the_command_shows_values_and_origins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BILLING_SMTP_URL", "smtps://user:hunter2@mail.example.com:465")
    result = CliRunner().invoke(cli, ["settings"])
    lines = {line.split()[0]: line.split()[1:3] for line in result.output.splitlines()}
    assert lines["BILLING_SMTP_URL"] == ["smtps://***@mail.example.com:465", "environment"]
    assert lines["BILLING_DATABASE_URL"] == [f"sqlite:///{tmp_path}/var/billing.db", "default"]
    assert lines["BILLING_HTTP_PORT"] == ["8080", "default"]


def test_production_needs_a_mail_server_a_sender_and_a_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(SettingsError) as caught:
        require_for_production(load_settings())
    assert "set BILLING_SMTP_URL, BILLING_MAIL_FROM, BILLING_INVITATION_URL" in str(caught.value)
    monkeypatch.setenv("BILLING_SMTP_URL", "smtp://mail.example.com")
    monkeypatch.setenv("BILLING_MAIL_FROM", "billing@example.org")
    monkeypatch.setenv("BILLING_INVITATION_URL", "")
    with pytest.raises(SettingsError) as caught:
        require_for_production(load_settings())
    assert "set BILLING_INVITATION_URL:" in str(caught.value)
    monkeypatch.setenv("BILLING_INVITATION_URL", "https://billing.example.org/invitations/")
    require_for_production(load_settings())


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_processes_that_send_e_mails_ask_for_it(command: str) -> None:
    result = CliRunner().invoke(cli, [command])
    assert isinstance(result.exception, SettingsError)
    assert variable("smtp_url") in str(result.exception)


@pytest.mark.parametrize(
    "proxy",
    ["http://proxy:99999", "http://proxy:0", "http://proxy:port", "http://a..b", "http://@:1"],
)
def test_a_proxy_that_nothing_can_be_sent_through_is_refused(
    monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("BILLING_WEBHOOK_PROXY", proxy)
    assert refused() == "BILLING_WEBHOOK_PROXY: its host is no name, or its port not 1 to 65535"
    for good in ("http://user:p%40ss@proxy.internal:3128/", "http://[::1]:3128", ""):
        monkeypatch.setenv("BILLING_WEBHOOK_PROXY", good)
        load_settings()
