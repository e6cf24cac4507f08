"""The examples for docker compose: they are YAML that holds together, and Sidestream takes the files that they mount."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from deployment import BINARY

FOLDER = Path(__file__).parent.parent.parent / "docs/compose"
READ = "import json, sys, yaml; print(json.dumps(yaml.safe_load(sys.stdin)))"


def read(path: Path) -> dict:
    """A file of YAML, by Debian's library."""
    command = ["/usr/bin/python3", "-c", READ]
    return json.loads(subprocess.run(command, stdin=path.open(), check=True, capture_output=True).stdout)


@pytest.mark.parametrize("name", ["django", "nextjs"])
def test_an_example_holds_together(name):
    example = read(FOLDER / f"{name}.yml")
    services, config = example["services"], (FOLDER / f"{name}.toml").read_text()
    mounts = [mount.split(":") for service in services.values() for mount in service["volumes"]]
    named = {source for source, *_ in mounts if not source.startswith(".")}
    assert named == set(example["volumes"]) == {"run", "history"}
    assert [f"./{name}.toml", "/etc/sidestream/sidestream.toml", "ro"] in mounts
    publish_socket = services["shop"]["environment"]["SIDESTREAM_SOCKET"]
    assert f'socket = "{publish_socket}"' in config
    dockerfile = (FOLDER / services["sidestream"]["build"] / "Dockerfile").read_text()
    assert f'"unix:{publish_socket}"' in dockerfile, "the health check asks another socket"
    assert "HEALTHCHECK" in dockerfile and "service_healthy" in str(services["shop"]["depends_on"])
    for service in services.values():
        assert service["environment"]["SIDESTREAM_SECRET"].startswith("${SIDESTREAM_SECRET:?")


@pytest.mark.parametrize("name", ["django", "nextjs"])
def test_sidestream_takes_its_configuration(name, tmp_path):
    config = (FOLDER / f"{name}.toml").read_text()
    for folder in ("/run/sidestream", "/var/lib/sidestream"):
        assert folder in config
        config = config.replace(folder, str(tmp_path))
    (tmp_path / "sidestream.toml").write_text(config)
    command = [BINARY, "check", "--config", tmp_path / "sidestream.toml"]
    environment = {**os.environ, "SIDESTREAM_SECRET": "s" * 32}
    checked = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert checked.returncode == 0 and "/events" in checked.stdout, checked
    environment.pop("SIDESTREAM_SECRET")
    checked = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert checked.returncode == 1 and "SIDESTREAM_SECRET" in checked.stderr, checked
