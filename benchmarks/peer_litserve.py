"""The same encoder behind LitServe with its dynamic batching: ``python peer_litserve.py MODEL PORT``."""

import sys
from typing import Any

import litserve
from fastapi import Request
from peer_serve import classifier

BATCH, HOLD_S = 64, 0.005  # as many rows as there are clients, and a short wait for them


class Api(litserve.LitAPI):  # type: ignore[misc]
    """As its guide shows it."""

    def setup(self, device: str) -> None:
        self.answer = classifier(sys.argv[1])

    def decode_request(self, request: Request) -> Any:
        return request["inputs"]  # it is given the JSON, under this name

    def predict(self, texts: Any) -> Any:
        return self.answer(list(texts), batch_size=len(texts))

    def encode_response(self, output: Any) -> Any:
        return output


if __name__ == "__main__":
    server = litserve.LitServer(Api(max_batch_size=BATCH, batch_timeout=HOLD_S), accelerator="cpu")
    server.run(port=int(sys.argv[2]), generate_client_file=False, log_level="critical")
