"""The same encoder behind other servers: ``python peer_serve.py fastapi|echo MODEL PORT``."""

import sys
from typing import Any

import torch
from transformers import pipeline


def classifier(folder: str) -> Any:
    return pipeline("text-classification", model=folder, tokenizer=folder, dtype=torch.float32, device="cpu")


def serve_fastapi(folder: str, port: int) -> None:
    """As the guides of both show it: a plain function, which runs in a thread of the pool."""
    import uvicorn
    from fastapi import FastAPI
    from pydantic import BaseModel

    class Question(BaseModel):
        inputs: str

    app, answer = FastAPI(), classifier(folder)

    @app.post("/predict")
    def predict(question: Question) -> Any:
        return answer(question.inputs)

    uvicorn.run(app, port=port, log_level="critical", access_log=False)


def serve_echo(_: str, port: int) -> None:
    """What HTTP costs by itself."""
    import uvicorn
    from fastapi import FastAPI
    from pydantic import BaseModel

    class Question(BaseModel):
        inputs: str

    app = FastAPI()

    @app.post("/predict")
    async def predict(question: Question) -> Any:
        return [{"label": "positive", "score": float(len(question.inputs) > 0)}]

    uvicorn.run(app, port=port, log_level="critical", access_log=False)


if __name__ == "__main__":
    _, which, folder, port = sys.argv
    {"fastapi": serve_fastapi, "echo": serve_echo}[which](folder, int(port))
