"""What protos can say beyond ours: each rule of google.api.http, each type, each option."""

import importlib.metadata
import importlib.resources
from pathlib import Path
from typing import Any

import pytest
from grpc_tools import protoc  # type: ignore[import-untyped]
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway import openapi
from tests.service import ROOT

SHOP = """
syntax = "proto3";
package shop.v1;

import "google/api/annotations.proto";
import "billing/options/v1/methods.proto";
import "google/api/field_behavior.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
import "google/rpc/error_details.proto";
import "google/rpc/status.proto";
import "yandex/cloud/validation.proto";

service Shelves {
  // Looks for books.
  //
  // Nothing found is no error.
  rpc ListBooks(SearchRequest) returns (Book) {
    option (billing.options.v1.only_reads) = true;
    option (google.api.http) = {get: "/v1/{parent=shelves/*/boxes/*}/books"};
  }
  rpc Update(UpdateRequest) returns (Book) {
    option deprecated = true;
    option (google.api.http) = {
      patch: "/v1/{book.name=books/**}"
      body: "book"
      additional_bindings {put: "/v1/volumes/{book.id}" body: "*"}
    };
  }
}

message SearchRequest {
  string parent = 1 [(yandex.cloud.required) = true];
  Range pages = 2;
  repeated string words = 3 [(yandex.cloud.size) = "1-5", (yandex.cloud.unique) = true];
  uint32 skip = 4;
  google.protobuf.Duration wait = 5;
  repeated Range ranges = 6;
}

message Range {
  int64 from = 1 [(yandex.cloud.value) = ">0"];
  int32 to = 2 [(yandex.cloud.value) = "<100"];
}

message UpdateRequest {
  Book book = 1 [(google.api.field_behavior) = REQUIRED];
  google.protobuf.FieldMask mask = 2;
}

message Book {
  enum Kind {
    KIND_UNSPECIFIED = 0;
    PAPER = 1;
  }
  string id = 1;
  string name = 2;
  Kind kind = 3;
  int64 sold = 4;
  bytes cover = 5;
  map<string, Range> chapters = 6 [(yandex.cloud.size) = "<=9"];
  repeated Book sequels = 7;
  google.protobuf.Timestamp printed_at = 8;
  optional bool lent = 9;
  double weight = 10;
  google.protobuf.StringValue note = 11;
  oneof price {
    int32 roubles = 12;
    string words = 13 [(yandex.cloud.length) = "4"];
  }
}
"""


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("shop")
    (folder / "shop.proto").write_text(SHOP)
    made = folder / "descriptors.pb"
    site = importlib.metadata.distribution("googleapis-common-protos").locate_file("")
    standard = importlib.resources.files("grpc_tools") / "_proto"
    command = [f"-I{path}" for path in (folder, ROOT / "proto", site, standard)]
    command += ["--include_imports", "--include_source_info", f"--descriptor_set_out={made}"]
    assert protoc.main(["protoc", *command, str(folder / "shop.proto")]) == 0
    found = openapi.document(Path(made))
    assert list(OpenAPIV31SpecValidator(found).iter_errors()) == []
    return found


def test_paths_come_from_templates(document: Any) -> None:
    assert set(document["paths"]) == {
        "/v1/shelves/{shelvesId}/boxes/{boxesId}/books",
        "/v1/books/{booksId}",
        "/v1/volumes/{book.id}",
    }


def test_what_is_left_goes_into_the_query(document: Any) -> None:
    [search] = [item["get"] for item in document["paths"].values() if "get" in item]
    query = {each["name"]: each for each in search["parameters"] if each["in"] == "query"}
    assert list(query) == ["pages.from", "pages.to", "words", "skip", "wait"]
    assert query["pages.from"]["schema"]["minimum"] == 1
    assert query["pages.to"]["schema"]["maximum"] == 99
    words = query["words"]["schema"]
    assert (words["minItems"], words["maxItems"], words["uniqueItems"]) == (1, 5, True)
    assert query["skip"]["schema"]["minimum"] == 0
    assert query["wait"]["schema"]["pattern"].endswith("s$")


def test_a_body_is_one_field_or_all_that_the_path_leaves(document: Any) -> None:
    patch = document["paths"]["/v1/books/{booksId}"]["patch"]
    assert patch["requestBody"]["required"] is True
    content = patch["requestBody"]["content"]["application/json"]
    assert content["schema"]["$ref"] == "#/components/schemas/shop.v1.Book"
    assert [each["name"] for each in patch["parameters"] if "name" in each] == ["booksId", "mask"]
    put = document["paths"]["/v1/volumes/{book.id}"]["put"]
    whole = put["requestBody"]["content"]["application/json"]["schema"]
    assert whole["$ref"] == "#/components/schemas/shop.v1.UpdateRequest"


def test_comments_and_deprecation_are_taken_over(document: Any) -> None:
    search = document["paths"]["/v1/shelves/{shelvesId}/boxes/{boxesId}/books"]["get"]
    assert search["summary"] == "Looks for books"
    assert search["description"] == "Nothing found is no error."
    assert document["paths"]["/v1/volumes/{book.id}"]["put"]["deprecated"] is True
    assert "deprecated" not in search


def test_each_type_has_its_schema(document: Any) -> None:
    book = document["components"]["schemas"]["shop.v1.Book"]
    fields = book["properties"]
    assert book["additionalProperties"] is False
    assert fields["kind"]["enum"] == ["KIND_UNSPECIFIED", "PAPER"]
    assert fields["sold"]["type"] == ["string", "null"]
    assert fields["sold"]["format"] == "int64"
    assert fields["cover"]["contentEncoding"] == "base64"
    assert fields["chapters"]["maxProperties"] == 9
    assert fields["chapters"]["additionalProperties"]["$ref"].endswith("shop.v1.Range")
    assert fields["sequels"]["items"]["$ref"].endswith("shop.v1.Book")
    assert fields["printedAt"]["format"] == "date-time"
    assert fields["lent"]["type"] == ["boolean", "null"]
    assert fields["weight"]["type"] == ["number", "null"]
    assert fields["note"]["type"] == ["string", "null"]
    assert fields["words"]["maxLength"] == 4
    assert book["not"] == {"required": ["roubles", "words"]}
