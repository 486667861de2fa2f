import socket
from dataclasses import astuple, fields

import pytest

from devnet.errors import PortTakenError
from devnet.ports import SERVICE_NAMES, Ports, check_free, is_free


class TestPorts:
    def test_gives_every_service_a_name(self) -> None:
        assert {field.name for field in fields(Ports)} == set(SERVICE_NAMES)

    def test_finds_free_ports_that_differ(self) -> None:
        chosen = astuple(Ports.free())

        assert len(set(chosen)) == len(chosen)
        assert all(is_free(port) for port in chosen)


class TestCheckFree:
    def test_names_the_service_the_port_and_the_option(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]

            with pytest.raises(PortTakenError, match=f"{port}.*Temporal UI.*--temporal-ui-port"):
                check_free(Ports(temporal_ui=port), ["temporal_ui"])

    def test_does_not_look_at_services_that_are_not_asked_for(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            check_free(Ports(api=listener.getsockname()[1]), [])

    def test_has_a_stable_code(self) -> None:
        error = PortTakenError(service="the API", port=1, option="--api-port")

        assert error.code == "port_taken"
