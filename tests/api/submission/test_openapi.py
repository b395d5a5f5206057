import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tandem.deploy.local.ports import free_port
from tandem.shared.tasks.registry import load
from tests.support.gateway import KEYS, Gateway
from tests.support.processes import running


async def test_each_task_has_its_typed_operation(gateway: Gateway) -> None:
    document = (await gateway.nobody.get("/openapi.json")).json()
    for spec in load():
        operation = document["paths"][f"/v1/{spec.name}"]["post"]
        content = operation["requestBody"]["content"]["application/json"]
        assert content["examples"]["example"]["value"] == spec.example
        assert content["schema"]["$ref"].endswith(spec.input.__name__)
        view = _resolve(document, operation["responses"]["202"]["content"]["application/json"]["schema"])
        assert spec.output.__name__ in str(view["properties"]["result"])
        assert set(operation["responses"]) >= {"200", "202", "401", "413", "422", "503"}
        assert "get" in document["paths"][f"/v1/{spec.name}/{{job_id}}"]


def _resolve(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    view: dict[str, Any] = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return view


async def test_the_catalogue_lists_every_task(gateway: Gateway) -> None:
    tasks = (await gateway.ann.get("/v1/tasks")).json()["tasks"]
    assert {task["name"] for task in tasks} == {spec.name for spec in load()}
    extract = next(task for task in tasks if task["name"] == "extract")
    assert "schema" in extract["input"]["properties"]
    assert extract["method"] == "POST"


async def test_the_document_describes_all_that_it_names(gateway: Gateway) -> None:
    """Each parameter, each field of inputs and answers, and what an answer is."""
    document = (await gateway.nobody.get("/openapi.json")).json()
    operations = {
        f"{method} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    mute = {
        f"{name}: {parameter['name']}"
        for name, operation in operations.items()
        for parameter in operation.get("parameters", ())
        if not parameter.get("description")
    }
    mute |= {
        f"{name}: {status}"
        for name, operation in operations.items()
        for status, response in operation["responses"].items()
        if response["description"] in {"", "Successful Response"}
    }
    mute |= {
        f"{name}.{field}"
        for name, schema in document["components"]["schemas"].items()
        for field, described in schema.get("properties", {}).items()
        if not described.get("description")
    }
    assert mute == set()


@pytest.mark.parametrize("path", ["/docs", "/openapi.json"])
async def test_the_docs_need_no_key(gateway: Gateway, path: str) -> None:
    assert (await gateway.nobody.get(path)).status_code == 200


CONFIG = """
# Long waits are tested by themselves; here they would only take the time they were asked for.
parameters = { wait = 0, Prefer = "wait=0" }
"""
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


@pytest.mark.slow
def test_schemathesis_finds_no_fault(valkey: str, tmp_path: Path) -> None:
    """Fuzz the running gateway from its own document: no 5xx, and every answer as documented."""
    port = free_port()
    env = {"REDIS_URL": valkey, "PORT": str(port), "TANDEM_API_KEYS": KEYS, "RUN_DIR": str(tmp_path)}
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    with running("tandem.api", env=env, log=tmp_path / "api.log", says="listening"):
        command = [str(Path(sys.executable).parent / "schemathesis"), "run", f"http://127.0.0.1:{port}/openapi.json"]
        command += ["--header", "Authorization: Bearer root-key-0123456789ab", "--checks", CHECKS, "--seed", "7"]
        # Events of a job that nobody runs never end: tests/api/jobs/test_events.py asks for those.
        command += ["--exclude-path-regex", "/events$"]
        command += ["--phases", "examples,coverage,fuzzing", "--max-examples", "15", "--no-color"]
        result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert result.returncode == 0, result.stdout[-6000:]
