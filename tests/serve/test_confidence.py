"""Confidence over HTTP: that of the predictor, or a refusal."""

from dataclasses import replace

from lathe.core.calibration import Temperature
from lathe.serve.served import Models

from .conftest import client_of

ASKED = {"rows": ["good film", "影片很坏"], "confidence": True}


def test_it_is_told_on_request_by_row_and_by_line(opened):
    served = opened("classify")["classify"]
    able = replace(served.predictor, calibration=Temperature(temperature=2.0, rows=30))
    wanted = [one.to_json() for one in able.confident(ASKED["rows"])]
    with client_of(Models([replace(served, predictor=able)])) as client:
        assert client.post("/v1/classify", json=ASKED).json()["predictions"] == wanted
        lines = client.post(
            "/v1/classify/bulk?confidence=true",
            content=b'"good film"\n',
            headers={"Content-Type": "application/x-ndjson"},
        )
        assert lines.json()["prediction"] == wanted[0]
        assert "confidence" not in client.post("/v1/classify", json=ASKED | {"confidence": False}).text


def test_a_bundle_without_it_and_a_task_without_it_refuse(serving):
    with serving("classify", "embed", "fill") as client:
        for kind, told in {"classify": "no calibration", "embed": "none for embed", "fill": "none for fill"}.items():
            answer = client.post(f"/v1/{kind}", json=ASKED)
            assert (answer.status_code, told in answer.text) == (422, True), answer.text
