"""IAM tokens: as given, from a command, or for a service account's key; renewed by themselves."""

import hashlib
import json
import shlex
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import grpc
from yandex.cloud.iam.v1 import iam_token_service_pb2, iam_token_service_pb2_grpc

from client import errors
from client.errors import NOT_LOGGED_IN, ClientError
from client.profiles import Profile, folder, write_private

# A token that ends sooner is made anew.
_EARLY_S = 300.0
# How long a token is used whose end is not known: a command may print a new one each time.
_COMMAND_S = 300.0
_COMMAND_WITHIN_S = 60.0
_ASSERTION_S = 600


class Credentials:
    """Returns a token that still holds, for one profile."""

    def __init__(
        self, profile: Profile, channel: grpc.Channel, now: Callable[[], float] = time.time
    ) -> None:
        self._profile = profile
        self._channel = channel
        self._now = now
        self._token = profile.token
        self._ends_at_s = float("inf") if profile.token else 0.0
        # An import calls from several threads.
        self._lock = threading.Lock()

    def token(self) -> str:
        """Returns a token; raises ClientError where there is none to be had."""
        with self._lock:
            return self._fresh()

    def _fresh(self) -> str:
        if self._now() < self._ends_at_s - (_EARLY_S if self._profile.key_file else 0):
            return self._token
        if self._profile.key_file:
            self._token, self._ends_at_s = self._kept() or self._for_key()
        elif self._profile.token_command:
            self._token, self._ends_at_s = self._from_command(), self._now() + _COMMAND_S
        else:
            raise ClientError("you are not logged in: run `billing login`", NOT_LOGGED_IN)
        return self._token

    def forget(self) -> bool:
        """Has the next token made anew, after one was refused; False where there is only that one."""
        if self._profile.token:
            return False
        with self._lock:
            self._ends_at_s = 0.0
            if self._profile.key_file:
                self._file().unlink(missing_ok=True)
        return True

    def _file(self) -> Path:
        of = f"{self._profile.endpoint} {self._profile.key_file}"
        return folder() / "tokens" / f"{hashlib.sha256(of.encode()).hexdigest()[:32]}.json"

    def _kept(self) -> tuple[str, float] | None:
        try:
            kept = json.loads(self._file().read_text())
            token, ends_at_s = str(kept["token"]), float(kept["ends_at"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return (token, ends_at_s) if self._now() < ends_at_s - _EARLY_S else None

    def _for_key(self) -> tuple[str, float]:
        # When needed: each command begins a fifth sooner.
        import jwt

        key = read_key_file(Path(self._profile.key_file))
        now = int(self._now())
        try:
            assertion = jwt.encode(
                {
                    "iss": key["service_account_id"],
                    "aud": f"https://iam.{self._profile.endpoint}/iam/v1/tokens",
                    "iat": now,
                    "exp": now + _ASSERTION_S,
                },
                key["private_key"],
                algorithm="PS256",
                headers={"kid": key["id"]},
            )
        except (ValueError, TypeError, jwt.PyJWTError) as error:
            raise ClientError(
                f"the private key in {self._profile.key_file} can't be used: {error}", NOT_LOGGED_IN
            ) from None
        request = iam_token_service_pb2.CreateIamTokenRequest(jwt=assertion)
        try:
            made = iam_token_service_pb2_grpc.IamTokenServiceStub(self._channel).Create(
                request, timeout=30
            )
        except grpc.RpcError as error:
            raise errors.of_call(error, self._profile.endpoint) from None
        ends_at_s = made.expires_at.ToMilliseconds() / 1000
        write_private(self._file(), {"token": made.iam_token, "ends_at": ends_at_s})
        return made.iam_token, ends_at_s

    def _from_command(self) -> str:
        command = self._profile.token_command
        try:
            done = subprocess.run(  # noqa: S603 - the user's own command
                shlex.split(command),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_COMMAND_WITHIN_S,
                check=False,
            )
        except (OSError, ValueError, subprocess.TimeoutExpired) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise ClientError(f"`{command}` gave no token: {why}", NOT_LOGGED_IN) from None
        token = done.stdout.strip()
        if done.returncode or not token or len(token.split()) != 1:
            last = (done.stderr.strip().splitlines() or ["it printed no token"])[-1]
            raise ClientError(f"`{command}` gave no token: {last}", NOT_LOGGED_IN)
        return token


def read_key_file(file: Path) -> dict[str, str]:
    """Returns what a service account's key file holds; raises ClientError."""
    try:
        key = json.loads(file.read_text())
        return {name: key[name] for name in ("id", "service_account_id", "private_key")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no service account's key"
        raise ClientError(f"{file} can't be used: {why}", NOT_LOGGED_IN) from None
