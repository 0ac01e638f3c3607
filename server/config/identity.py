"""Settings of who signs the tokens that callers bring."""

from typing import Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings


class IdentitySettings(BaseSettings):
    """Who signs the tokens that callers bring."""

    keys: str = Field(
        "", description="folder of the keys that sign IAM tokens; default keys in var"
    )
    iam_endpoints: str = Field(
        "",
        pattern=r"^[^\s,]*(, *[^\s,]+)*$",
        description="host:port,… for which clients may sign requests for tokens, beside this machine's",
    )
    oidc_issuer: str = Field("", description="an outside issuer whose tokens are accepted too")
    oidc_audience: str = Field(
        "", description="audience that the outside issuer's tokens must be for"
    )
    oidc_jwks: str = Field(
        "",
        pattern=r"^(https://|/|$)",
        description="the outside issuer's key set: https URL, or the absolute path of a file",
    )

    @model_validator(mode="after")
    def _whole_issuer(self) -> Self:
        if len({bool(self.oidc_issuer), bool(self.oidc_audience), bool(self.oidc_jwks)}) > 1:
            raise PydanticCustomError(
                "oidc",
                "set BILLING_OIDC_ISSUER, BILLING_OIDC_AUDIENCE and BILLING_OIDC_JWKS, or none",
            )
        return self
