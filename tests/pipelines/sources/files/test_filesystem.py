"""Files in an object store and what is raised when they cannot be read."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs
from servers import seaweedfs

from encoder.errors import ConfigurationError, InputError, InvalidReference, StoreUnavailable
from pipelines.sources.files.discovery import find_inputs
from pipelines.sources.files.filesystem import last_part, locate, open_file, reading
from pipelines.sources.files.reader import read_split
from pipelines.sources.files.schema import infer_schema
from pipelines.sources.files.splits import split_file


def test_paths_and_uris_are_located(tmp_path):
    assert locate("file:///a%20b/c d") == (fs.LocalFileSystem(), "/a b/c d")
    assert locate(f"{tmp_path}/x")[1] == f"{tmp_path}/x"
    with pytest.raises(ConfigurationError, match=r"cannot use 's3://b/x\?nonsense=1'"):
        locate("s3://b/x?nonsense=1")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("s3://bucket/private/x.jsonl?region=eu&endpoint_override=a/b", "x.jsonl"),
        ("file:///home/alice/private/x.jsonl", "x.jsonl"),
        ("/home/alice/private/", "private"),
        ("logs/**/part-?.jsonl", "part-?.jsonl"),
        ("x.jsonl", "x.jsonl"),
    ],
)
def test_the_last_part_says_what_it_is_and_not_where(path, name):
    assert last_part(path) == name


@pytest.mark.parametrize(
    ("uri", "variable"),
    [
        ("s3://AKIAEXAMPLE:hunter2@bucket/x", "AWS_SECRET_ACCESS_KEY"),
        ("s3://AKIAEXAMPLE:hunt/er2@bucket/x", "AWS_SECRET_ACCESS_KEY"),
        ("s3://hunter2@bucket/x?region=eu", "AWS_SECRET_ACCESS_KEY"),
        ("gs://me:hunter2@bucket/x", "GOOGLE_APPLICATION_CREDENTIALS"),
        ("abfs://container:hunter2@account.dfs.core.windows.net/x", "AZURE_STORAGE_ACCOUNT_KEY"),
    ],
)
def test_credentials_in_a_uri_are_refused_and_not_told(uri, variable):
    with pytest.raises(InvalidReference, match=f"URI holds no credentials: set .*{variable}") as refused:
        find_inputs(uri)
    assert "hunt" not in str(refused.value)


def test_files_are_read_from_the_account_that_the_uri_or_the_environment_names(monkeypatch):
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    azure, inside = locate("abfss://container@account.dfs.core.windows.net/a b%20c")
    assert (azure, inside) == (fs.AzureFileSystem("account"), "container/a b c")
    with pytest.raises(ConfigurationError, match="set AZURE_STORAGE_ACCOUNT_NAME"):
        locate("az://container/x")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "a2V5")
    assert locate("az://container/x")[0] == fs.AzureFileSystem("account", account_key="a2V5")
    assert locate("az://container@other.dfs.core.windows.net/x")[0] == fs.AzureFileSystem("other")
    local = "blob_storage_authority=127.0.0.1%3A10000&blob_storage_scheme=http"
    assert locate(f"az://container/x?{local}")[0] == fs.AzureFileSystem(
        "account", account_key="a2V5", blob_storage_authority="127.0.0.1:10000", blob_storage_scheme="http"
    )
    with pytest.raises(ConfigurationError, match="has no option 'client_secret'") as refused:
        locate("az://container/x?client_secret=hunter2")
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("path", "raised", "expected", "message"),
    [
        ("s3://b/x", OSError("connection reset"), StoreUnavailable, "cannot read s3://b/x: connection reset"),
        ("s3://b/x", FileNotFoundError(), InputError, "there is no file s3://b/x"),
        ("s3://b/x", PermissionError("denied"), InputError, "cannot read s3://b/x: denied"),
        ("/x", OSError("input/output\nerror"), InputError, "cannot read /x: input/output error"),
        ("s3://b/x.gz", OSError("Truncated compressed stream"), InputError, "x.gz is damaged or truncated"),
        ("/x", pa.ArrowInvalid("bad footer"), InputError, "cannot read /x: bad footer"),
    ],
)
def test_errors_name_the_file_and_say_whether_to_try_again(path, raised, expected, message):
    with pytest.raises(expected, match=message), reading(path):
        raise raised


@pytest.mark.server
def test_files_in_an_object_store_are_found_and_read(monkeypatch):
    with seaweedfs() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        where = f"?scheme=http&endpoint_override=127.0.0.1%3A{server.port}"
        store, root = fs.FileSystem.from_uri(f"s3://{server.bucket}{where}")
        for name in ("a b.log", "deep/é%20#.log", "_hidden.log", "x.jsonl"):
            with store.open_output_stream(f"{root}/in put/{name}") as out:
                out.write(b'{"text": "one"}\n{"text": "two"}\n')
        pq.write_table(pa.table({"text": ["one", "two"]}), f"{root}/in put/p.parquet", filesystem=store)
        files = find_inputs(f"s3://{server.bucket}/in put/**/*{where}")
        assert [file.path for file in files] == [
            f"s3://{server.bucket}/in%20put/{name}{where}"
            for name in ("a%20b.log", "deep/%C3%A9%2520%23.log", "p.parquet", "x.jsonl")
        ]
        schema = infer_schema(files, ["text"], None)
        texts = [
            text
            for file in files
            for split in split_file(file, 16)
            for chunk in read_split(split, schema)
            for text in chunk.batch.column("text").to_pylist()
        ]
        lines = ['{"text": "one"}', '{"text": "two"}']
        assert texts == [*lines, *lines, "one", "two", "one", "two"]
        with pytest.raises(InputError, match="there is no file"):
            open_file(f"s3://{server.bucket}/gone.log{where}")
        with pytest.raises(InputError, match="no input files"):
            find_inputs(f"s3://{server.bucket}/gone/*.log{where}")
